package telemetry

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// provider makes spans as the SDK's would, with its processor and resource, at a part
// of the cost (BenchmarkSpan, BenchmarkRecord): it is for spans of which nothing is
// limited, and that have no events. All else is the SDK's, which is why it has one.
type provider struct {
	trace.TracerProvider // the SDK's
	sampler              *sampler
	processor            sdktrace.SpanProcessor
	resource             *resource.Resource
}

// Tracer implements trace.TracerProvider.
func (p *provider) Tracer(name string, options ...trace.TracerOption) trace.Tracer {
	c := trace.NewTracerConfig(options...)
	return &tracer{p.TracerProvider.Tracer(name, options...), p, instrumentation.Scope{
		Name: name, Version: c.InstrumentationVersion(), SchemaURL: c.SchemaURL(), Attributes: c.InstrumentationAttributes(),
	}}
}

type tracer struct {
	trace.Tracer // the SDK's: the interface has a method that only it can have
	provider     *provider
	scope        instrumentation.Scope
}

// Start implements trace.Tracer.
func (t *tracer) Start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	c := trace.NewSpanStartConfig(options...)
	var parent trace.SpanContext
	if !c.NewRoot() {
		parent = trace.SpanContextFromContext(ctx)
	}
	id := traceOf(parent)
	if t.provider.sampler.samples(parent, id, name, c.Links()) {
		return t.sampled(ctx, parent, id, name, c)
	}
	s := &unsampled{self: identity(parent, id, false)}
	return trace.ContextWithSpan(ctx, s), s
}

// sampled starts a span that is.
func (t *tracer) sampled(ctx context.Context, parent trace.SpanContext, id trace.TraceID, name string, c trace.SpanConfig) (context.Context, trace.Span) {
	began := c.Timestamp()
	if began.IsZero() {
		began = time.Now()
	}
	s := &span{finished: finished{
		f:      Finished{Name: name, Kind: c.SpanKind(), Start: began, Links: c.Links()},
		tracer: t, context: identity(parent, id, true), parent: parent,
	}}
	if attributes := c.Attributes(); len(attributes) > 0 {
		s.SetAttributes(attributes...)
	}
	return trace.ContextWithSpan(ctx, s), s
}

// StartLocal starts a span as t.Start does, of which no other process hears. So where it
// isn't sampled it needs no identity, and that takes a quarter of the time
// (BenchmarkSpan). What is started under it is under its parent, and without one is
// sampled for itself.
func StartLocal(ctx context.Context, t trace.Tracer, name string, kind trace.SpanKind) (context.Context, trace.Span) {
	parent := trace.SpanContextFromContext(ctx)
	own, ok := t.(*tracer)
	if !ok || parent.IsSampled() {
		return t.Start(ctx, name, trace.WithSpanKind(kind))
	}
	switch id := traceOf(parent); {
	case own.provider.sampler.samples(parent, id, name, nil):
		return own.sampled(ctx, parent, id, name, trace.NewSpanStartConfig(trace.WithSpanKind(kind)))
	case parent.IsValid():
		return ctx, nothing
	default:
		return trace.ContextWithSpan(ctx, nothing), nothing // who looks for a span need not look through all of ctx
	}
}

// nothing is a span that does nothing.
var nothing = trace.SpanFromContext(context.Background())

// traceOf is the trace of what is under a parent: a new one, if there is none.
func traceOf(parent trace.SpanContext) trace.TraceID {
	if id := parent.TraceID(); id.IsValid() {
		return id
	}
	return newTraceID()
}

// identity is that of a new span.
func identity(parent trace.SpanContext, id trace.TraceID, sampled bool) trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: id, SpanID: newSpanID(), TraceFlags: parent.TraceFlags().WithSampled(sampled), TraceState: parent.TraceState(),
	})
}

// unsampled is a span that has an identity and nothing else.
type unsampled struct {
	noop.Span
	self trace.SpanContext
}

// SpanContext implements trace.Span.
func (s *unsampled) SpanContext() trace.SpanContext { return s.self }

func newTraceID() (id trace.TraceID) {
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:8], rand.Uint64())
		binary.NativeEndian.PutUint64(id[8:], rand.Uint64())
	}
	return id
}

func newSpanID() (id trace.SpanID) {
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:], rand.Uint64())
	}
	return id
}
