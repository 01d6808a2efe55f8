package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// Limits of repeated messages: a thousand failed calls a second must not log a thousand
// lines.
const (
	quietBurst  = 5                // records of one message in a window; the others are left out
	quietWindow = 10 * time.Second // the first record after it says how many were left out
	maxMessages = 1024             // counted messages; the proxy has some dozens
)

// quiet is a slog.Handler that leaves out repeated messages.
type quiet struct {
	slog.Handler
	seen *seenMessages
}

// seenMessages counts records by message. All handlers derived from one share it.
type seenMessages struct {
	mu     sync.Mutex
	counts map[string]*messageCount // guarded by mu
}

type messageCount struct {
	since    time.Time // start of the window
	let, cut int       // records logged and left out in it
}

// Quiet returns a logger that leaves out repeated messages, and adds the id of the trace to
// a record if the trace is sampled.
func Quiet(l *slog.Logger) *slog.Logger { return slog.New(newQuiet(l.Handler())) }

func newQuiet(h slog.Handler) slog.Handler {
	return &quiet{h, &seenMessages{counts: map[string]*messageCount{}}}
}

// Handle implements slog.Handler.
func (q *quiet) Handle(ctx context.Context, r slog.Record) error {
	cut, pass := q.seen.count(r.Message, r.Time)
	if !pass {
		return nil
	}
	if cut > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("left_out_before", cut))
	}
	if sc := trace.SpanContextFromContext(ctx); sc.IsSampled() {
		r = r.Clone()
		r.AddAttrs(slog.String("trace_id", sc.TraceID().String()))
	}
	return q.Handler.Handle(ctx, r)
}

// count reports whether a record of a message passes, and how many were left out in the
// window before.
func (s *seenMessages) count(message string, now time.Time) (cut int, pass bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts[message]
	if c == nil {
		if len(s.counts) >= maxMessages {
			clear(s.counts)
		}
		c = &messageCount{since: now}
		s.counts[message] = c
	}
	if now.Sub(c.since) >= quietWindow {
		cut = c.cut
		*c = messageCount{since: now}
	}
	if c.let >= quietBurst {
		c.cut++
		return 0, false
	}
	c.let++
	return cut, true
}

// WithAttrs implements slog.Handler.
func (q *quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &quiet{q.Handler.WithAttrs(attrs), q.seen}
}

// WithGroup implements slog.Handler.
func (q *quiet) WithGroup(name string) slog.Handler {
	return &quiet{q.Handler.WithGroup(name), q.seen}
}
