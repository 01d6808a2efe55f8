package telemetry

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"
)

func TestASeriesKeepsAnExemplarOfEachMagnitudeForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMetrics("", true)
		ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, TraceFlags: trace.FlagsSampled,
		}))
		takes := func(series any, v float64) bool { return m.exemplar(ctx, series, v) != nil }
		for _, c := range []struct {
			series any
			v      float64
			after  time.Duration
			want   bool
		}{
			{m.queueWait, .001, 0, true},
			{m.queueWait, .001, exemplarEvery / 2, false},
			{m.queueWait, 10, 0, true}, // seldom so much
			{m.duration, .001, 0, true},
			{m.queueWait, .001, exemplarEvery / 2, true},
			{m.queueWait, 0, 0, true},
			{m.queueWait, math.Inf(1), 0, false}, // a power of 0, as zero has
		} {
			time.Sleep(c.after)
			if got := takes(c.series, c.v); got != c.want {
				t.Errorf("%v after %v: %v, want %v", c.v, c.after, got, c.want)
			}
		}
		if m.exemplar(context.Background(), m.queueWait, 100) != nil {
			t.Error("an exemplar of what is not sampled")
		}
	})
}
