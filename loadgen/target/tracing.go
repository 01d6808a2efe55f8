package target

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"

	"paceline/proxy/telemetry"
)

// Tracer starts a client span for each prompt and propagates it to the server. A nil Tracer
// starts none. It is safe for concurrent use.
type Tracer struct {
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
}

// NewTracer returns a Tracer; nil for a nil provider.
func NewTracer(p trace.TracerProvider, propagator propagation.TextMapPropagator) *Tracer {
	if p == nil {
		return nil
	}
	return &Tracer{p.Tracer("paceline/loadgen"), propagator}
}

type runKey struct{}

// InRun returns a context whose spans get the attributes of a run.
func InRun(ctx context.Context, setting, phase string, repeat int) context.Context {
	return context.WithValue(ctx, runKey{}, []attribute.KeyValue{
		attribute.String(telemetry.Setting, setting), attribute.String(telemetry.Phase, phase), attribute.Int(telemetry.Repeat, repeat),
	})
}

// begin starts the span of one prompt. The returned function ends it and returns the trace id; empty
// if the span is not sampled.
func (t *Tracer) begin(ctx context.Context, name string, p Prompt) (_ context.Context, end func(cause string) string) {
	if t == nil {
		return ctx, func(string) string { return "" }
	}
	run, _ := ctx.Value(runKey{}).([]attribute.KeyValue)
	ctx, span := t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient))
	if !span.IsRecording() {
		return ctx, func(string) string { return "" }
	}
	span.SetAttributes(append(run, attribute.String(telemetry.Trajectory, p.ID))...)
	return ctx, func(cause string) string {
		if cause != "" {
			span.SetAttributes(attribute.String(telemetry.ErrorType, cause))
			span.SetStatus(codes.Error, cause)
		}
		span.End()
		return span.SpanContext().TraceID().String()
	}
}

// outgoing returns ctx with its trace context as outgoing gRPC metadata.
func (t *Tracer) outgoing(ctx context.Context) context.Context {
	if t == nil {
		return ctx
	}
	md := metadata.MD{}
	t.propagator.Inject(ctx, telemetry.Metadata(md))
	return metadata.NewOutgoingContext(ctx, md)
}

// Header adds the trace context of ctx to an HTTP request; see sglang.Options.
func (t *Tracer) Header(ctx context.Context, h http.Header) {
	if t != nil {
		t.propagator.Inject(ctx, propagation.HeaderCarrier(h))
	}
}
