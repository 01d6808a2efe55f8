package telemetry

import (
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// span is a sampled span under way, a trace.Span. Events are not kept. Its methods may
// be called from any goroutine; after End they change nothing.
type span struct {
	noop.Span // the methods that are not here

	mu       sync.Mutex
	ended    bool
	finished finished // once it has ended: another's to read
}

// SpanContext implements trace.Span.
func (s *span) SpanContext() trace.SpanContext { return s.finished.context }

// TracerProvider implements trace.Span.
func (s *span) TracerProvider() trace.TracerProvider { return s.finished.tracer.provider }

// IsRecording implements trace.Span.
func (s *span) IsRecording() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.ended
}

// change changes the span, if it has not ended.
func (s *span) change(how func(f *Finished)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		how(&s.finished.f)
	}
}

// SetAttributes implements trace.Span.
func (s *span) SetAttributes(attributes ...attribute.KeyValue) {
	s.change(func(f *Finished) {
		f.Attributes = slices.Grow(f.Attributes, len(attributes))
		for _, a := range attributes {
			switch i := slices.IndexFunc(f.Attributes, func(b attribute.KeyValue) bool { return b.Key == a.Key }); {
			case !a.Valid():
			case i >= 0:
				f.Attributes[i] = a
			default:
				f.Attributes = append(f.Attributes, a)
			}
		}
	})
}

// SetStatus implements trace.Span.
func (s *span) SetStatus(code codes.Code, description string) {
	s.change(func(f *Finished) {
		if f.Status.Code > code {
			return // OK stays, and an error is not unset
		}
		f.Status = sdktrace.Status{Code: code}
		if code == codes.Error {
			f.Status.Description = description
		}
	})
}

// SetName implements trace.Span.
func (s *span) SetName(name string) { s.change(func(f *Finished) { f.Name = name }) }

// AddLink implements trace.Span.
func (s *span) AddLink(l trace.Link) { s.change(func(f *Finished) { f.Links = append(f.Links, l) }) }

// End implements trace.Span.
func (s *span) End(options ...trace.SpanEndOption) {
	at := time.Now()
	if len(options) > 0 {
		if c := trace.NewSpanEndConfig(options...); !c.Timestamp().IsZero() {
			at = c.Timestamp()
		}
	}
	s.mu.Lock()
	first := !s.ended
	if first {
		s.ended, s.finished.f.End = true, at
	}
	s.mu.Unlock()
	if first {
		s.finished.tracer.provider.processor.OnEnd(&s.finished)
	}
}
