package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Finished is a span of what is over by the time that it is told of. Three of the four
// spans of a request are such.
type Finished struct {
	Name       string
	Kind       trace.SpanKind // 0 is internal
	Start, End time.Time
	Attributes []attribute.KeyValue // of different keys; not to be changed afterwards
	Links      []trace.Link
	Status     sdktrace.Status
}

// Record makes a span under that of ctx, if that one is sampled. A tracer of Tracing's
// provider hands it on as it is, for a tenth of what starting and ending one costs
// (BenchmarkRecord); any other starts and ends one.
func Record(ctx context.Context, t trace.Tracer, f Finished) {
	parent := trace.SpanContextFromContext(ctx)
	if !parent.IsSampled() {
		return
	}
	if t, ok := t.(*tracer); ok {
		t.provider.processor.OnEnd(&finished{f: f, tracer: t, context: identity(parent, parent.TraceID(), true), parent: parent})
		return
	}
	_, s := t.Start(ctx, f.Name, trace.WithSpanKind(f.Kind), trace.WithTimestamp(f.Start), trace.WithAttributes(f.Attributes...), trace.WithLinks(f.Links...))
	s.SetStatus(f.Status.Code, f.Status.Description)
	s.End(trace.WithTimestamp(f.End))
}

// unlimited says whether a Finished is within the limits that the environment sets,
// whatever is in it.
func unlimited(l sdktrace.SpanLimits) bool {
	const most = 32 // attributes; ours have a dozen at most
	enough := func(limit, n int) bool { return limit < 0 || limit >= n }
	return l.AttributeValueLengthLimit < 0 && enough(l.AttributeCountLimit, most) && enough(l.AttributePerLinkCountLimit, most) && enough(l.LinkCountLimit, mostLinks)
}

// finished is what a processor sees of a Finished.
type finished struct {
	sdktrace.ReadOnlySpan // nil: the interface has a method that only the SDK can have
	f                     Finished
	tracer                *tracer
	context, parent       trace.SpanContext
}

// The methods of sdktrace.ReadOnlySpan.

func (s *finished) Name() string                                { return s.f.Name }
func (s *finished) SpanContext() trace.SpanContext              { return s.context }
func (s *finished) Parent() trace.SpanContext                   { return s.parent }
func (s *finished) SpanKind() trace.SpanKind                    { return trace.ValidateSpanKind(s.f.Kind) }
func (s *finished) StartTime() time.Time                        { return s.f.Start }
func (s *finished) EndTime() time.Time                          { return s.f.End }
func (s *finished) Attributes() []attribute.KeyValue            { return s.f.Attributes }
func (s *finished) Events() []sdktrace.Event                    { return nil }
func (s *finished) Status() sdktrace.Status                     { return s.f.Status }
func (s *finished) InstrumentationScope() instrumentation.Scope { return s.tracer.scope }
func (s *finished) Resource() *resource.Resource                { return s.tracer.provider.resource }
func (s *finished) DroppedAttributes() int                      { return 0 }
func (s *finished) DroppedLinks() int                           { return 0 }
func (s *finished) DroppedEvents() int                          { return 0 }
func (s *finished) ChildSpanCount() int                         { return 0 }

// InstrumentationLibrary is what InstrumentationScope was called before.
func (s *finished) InstrumentationLibrary() instrumentation.Library { //nolint:staticcheck // the interface has it
	return s.tracer.scope
}

func (s *finished) Links() []sdktrace.Link {
	if len(s.f.Links) == 0 {
		return nil
	}
	links := make([]sdktrace.Link, len(s.f.Links))
	for i, l := range s.f.Links {
		links[i] = sdktrace.Link{SpanContext: l.SpanContext, Attributes: l.Attributes}
	}
	return links
}
