package telemetry

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

func TestSpansAreHandedOnManyAtATimeAndNoneIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spans := tracetest.NewSpanRecorder()
		g := newGathering(spans, 1000, new(counts))
		p := &provider{sdktrace.NewTracerProvider(), &sampler{below: always}, g, nil}
		end := func(n int) {
			for range n {
				_, s := p.Tracer("x").Start(context.Background(), "n")
				s.End()
			}
		}
		handedOn := func(when string, want int) {
			t.Helper()
			if got := len(spans.Ended()); got != want {
				t.Errorf("%s: %d spans handed on, want %d", when, got, want)
			}
		}
		end(gatherSpans - 1)
		handedOn("one less than are gathered", 0)
		end(1)
		handedOn("as many as are gathered", gatherSpans)

		end(2)
		time.Sleep(gatherTime / 2)
		end(1)
		handedOn("before the time", gatherSpans)
		time.Sleep(gatherTime / 2)
		synctest.Wait()
		handedOn("the time after the first of them", gatherSpans+3)

		end(5)
		if err := g.ForceFlush(t.Context()); err != nil {
			t.Error(err)
		}
		handedOn("flushed", gatherSpans+8)
		end(5)
		if err := g.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		handedOn("at the end", gatherSpans+13)
	})
}
