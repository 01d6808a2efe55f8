package telemetry

import (
	"context"
	"sync"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// gathering is before the SDK's processor, and hands it spans many at a time: that one
// has a goroutine that each span wakes, and where few requests are sampled this costs
// more than all else of their traces.
//
// It lets so many spans wait as the SDK's queue has room for, and counts those that
// find none. The SDK drops them, too, but tells nobody how many; here its queue is
// never full.
type gathering struct {
	sdktrace.SpanProcessor
	room   int64
	counts *counts

	mu    sync.Mutex // guards all below
	spans []sdktrace.ReadOnlySpan
	timer *time.Timer // hands on what is left; runs while there is any
}

// So many spans are handed on at a time, or what there is after that time: far less
// than the SDK waits.
const (
	gatherSpans = 64
	gatherTime  = 100 * time.Millisecond
)

func newGathering(next sdktrace.SpanProcessor, room int, c *counts) *gathering {
	g := &gathering{SpanProcessor: next, room: int64(room), counts: c}
	g.timer = time.AfterFunc(time.Hour, g.handOn)
	g.timer.Stop()
	return g
}

// OnEnd implements sdktrace.SpanProcessor.
func (g *gathering) OnEnd(s sdktrace.ReadOnlySpan) {
	switch {
	case !s.SpanContext().IsSampled():
		return
	case g.counts.waiting.Add(1) > g.room:
		g.counts.waiting.Add(-1)
		g.counts.dropped.Add(1)
		return
	}
	g.mu.Lock()
	g.spans = append(g.spans, s)
	n := len(g.spans)
	if n == 1 {
		g.timer.Reset(gatherTime)
	}
	g.mu.Unlock()
	if n >= gatherSpans {
		g.handOn()
	}
}

// handOn gives the SDK what there is.
func (g *gathering) handOn() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, s := range g.spans {
		g.SpanProcessor.OnEnd(s)
		g.spans[i] = nil
	}
	g.spans = g.spans[:0]
	g.timer.Stop()
}

// ForceFlush implements sdktrace.SpanProcessor.
func (g *gathering) ForceFlush(ctx context.Context) error {
	g.handOn()
	return g.SpanProcessor.ForceFlush(ctx)
}

// Shutdown implements sdktrace.SpanProcessor.
func (g *gathering) Shutdown(ctx context.Context) error {
	g.handOn()
	return g.SpanProcessor.Shutdown(ctx)
}
