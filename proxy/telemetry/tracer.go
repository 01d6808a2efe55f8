package telemetry

import (
	"context"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	pb "paceline/proto/paceline/v1"
)

// Tracer makes the spans of the proxy. No span tells any of a prompt. A nil Tracer
// makes none, and costs nothing. It is safe for concurrent use.
type Tracer struct {
	trace.Tracer

	Members bool // whether a batch's trace has a row for each prompt

	propagator propagation.TextMapPropagator
}

// NewTracer returns a tracer of a provider, or nil without one. A nil propagator is
// W3C's traceparent. With members a batch's trace has a row for each prompt.
func NewTracer(provider trace.TracerProvider, p propagation.TextMapPropagator, version string, members bool) *Tracer {
	if provider == nil {
		return nil
	}
	if p == nil {
		p = propagation.TraceContext{}
	}
	return &Tracer{provider.Tracer("paceline/proxy", trace.WithInstrumentationVersion(version)), members, p}
}

// Traced says whether calls of a gRPC method get a span: probes and reflection have
// nothing to show.
func Traced(method string) bool {
	return strings.HasPrefix(method, "/"+pb.PrefillService_ServiceDesc.ServiceName+"/")
}

// Made once.
var (
	streamMethod = pb.PrefillService_PrefillStream_FullMethodName[1:]
	streamedSpan = streamMethod + " request"
	grpcSystem   = attribute.String(RPCSystem, "grpc")
)

// Arrive reads the caller's trace. It is a tap.ServerInHandle: interceptors have no
// way to a call's metadata that does not copy all of it.
func (t *Tracer) Arrive(ctx context.Context, call *tap.Info) (context.Context, error) {
	if Traced(call.FullMethodName) {
		ctx = t.propagator.Extract(ctx, Metadata(call.Header))
	}
	return ctx, nil
}

// StartCall begins the span of a call of gRPC that has arrived, by its method without
// the first slash.
func (t *Tracer) StartCall(ctx context.Context, method string) (context.Context, trace.Span) {
	return StartLocal(ctx, t.Tracer, method, trace.SpanKindServer)
}

// EndCall ends it with the error of the call. Errors of the caller are no errors of
// the server.
func EndCall(span trace.Span, method string, err error) {
	defer span.End()
	if !span.IsRecording() {
		return
	}
	st := status.Convert(err)
	span.SetAttributes(grpcSystem, attribute.String(RPCMethod, method), attribute.String(RPCStatus, StatusName(st.Code())))
	switch st.Code() {
	case codes.OK, codes.InvalidArgument, codes.Canceled, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied,
		codes.Unauthenticated, codes.FailedPrecondition, codes.OutOfRange:
	default:
		span.SetStatus(otelcodes.Error, st.Message())
	}
}

// StatusName is a code as the semantic conventions write it.
func StatusName(c codes.Code) string {
	if c == codes.Canceled {
		return "CANCELLED" // String has Go's spelling
	}
	var name strings.Builder
	for i, r := range c.String() {
		if i > 0 && r >= 'A' && r <= 'Z' && c != codes.OK { // OutOfRange: OUT_OF_RANGE
			name.WriteByte('_')
		}
		name.WriteRune(r)
	}
	return strings.ToUpper(name.String())
}

// StartStreamed begins the span of one request of a stream, which is sampled as the
// stream is. end ends it with the error of the request, a gRPC status.
func (t *Tracer) StartStreamed(ctx context.Context) (_ context.Context, end func(error)) {
	if !t.samples(ctx) {
		return ctx, func(error) {}
	}
	ctx, span := t.Start(ctx, streamedSpan)
	return ctx, func(err error) { EndCall(span, streamMethod, err) }
}

// StartRequest begins the span of an HTTP request. route is one of a bounded number.
func (t *Tracer) StartRequest(r *http.Request, route string) (context.Context, trace.Span) {
	ctx := t.propagator.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	return t.Start(ctx, r.Method+" "+route, trace.WithSpanKind(trace.SpanKindServer))
}

// EndRequest ends it with the status code of the answer.
func EndRequest(span trace.Span, method, route string, code int) {
	defer span.End()
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(attribute.String(HTTPMethod, method), attribute.String(HTTPRoute, route), attribute.Int(HTTPStatus, code))
	if code >= http.StatusInternalServerError {
		span.SetStatus(otelcodes.Error, http.StatusText(code))
	}
}

// Inject puts the trace of ctx on a request to SGLang.
func (t *Tracer) Inject(ctx context.Context, h http.Header) {
	if t != nil && trace.SpanContextFromContext(ctx).IsValid() {
		t.propagator.Inject(ctx, propagation.HeaderCarrier(h))
	}
}

func (t *Tracer) samples(ctx context.Context) bool {
	return t != nil && trace.SpanContextFromContext(ctx).IsSampled()
}

// Sampled is the context of a request whose trace is sampled, and else the background:
// nothing is looked up in it.
func (t *Tracer) Sampled(ctx context.Context) context.Context {
	if t.samples(ctx) {
		return ctx
	}
	return context.Background()
}
