package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// Of one message at most quietBurst records are logged in quietWindow; the first of
// the next window says how many were left out. A server that fails each of a
// thousand calls a second needs no thousand lines.
const (
	quietBurst  = 5
	quietWindow = 10 * time.Second
	maxMessages = 1024 // told apart; messages are our own words, so there are some dozens
)

// quiet is a slog.Handler that leaves repetitions out.
type quiet struct {
	slog.Handler
	seen *seenMessages
}

// seenMessages is shared by all handlers derived from one.
type seenMessages struct {
	mu     sync.Mutex
	counts map[string]*messageCount
}

type messageCount struct {
	since    time.Time
	let, cut int
}

// Quiet leaves repetitions out of a log, and adds the trace to what is logged in one.
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
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		r = r.Clone()
		r.AddAttrs(slog.String("trace_id", sc.TraceID().String()))
	}
	return q.Handler.Handle(ctx, r)
}

// count says whether a record of a message passes, and how many did not in the
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
