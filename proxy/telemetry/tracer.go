package telemetry

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	pb "paceline/proto/paceline/v1"
)

// Tracer makes the proxy's spans and passes traces on. No span has prompt text. A nil Tracer
// makes no spans and costs nothing. It is safe for concurrent use.
type Tracer struct {
	trace.Tracer

	Members bool // whether the trace of a batch has a span for each prompt

	propagator propagation.TextMapPropagator
}

// NewTracer returns a Tracer that uses the provider, or nil if that is nil. A nil propagator
// means W3C's traceparent. With members the trace of a batch has a span for each prompt.
func NewTracer(provider trace.TracerProvider, p propagation.TextMapPropagator, version string, members bool) *Tracer {
	if provider == nil {
		return nil
	}
	if p == nil {
		p = propagation.TraceContext{}
	}
	return &Tracer{provider.Tracer("paceline/proxy", trace.WithInstrumentationVersion(version)), members, p}
}

// ServicePrefix and ScorePrefix begin the gRPC methods whose calls are traced and measured.
// Health and reflection are not.
const (
	ServicePrefix = "/paceline.v1.PrefillService/"
	ScorePrefix   = "/paceline.v1.ScoreService/"
)

var (
	streamMethod = pb.PrefillService_PrefillStream_FullMethodName[1:]
	grpcSystem   = attribute.String(RPCSystem, "grpc")
	serverKind   = trace.WithSpanKind(trace.SpanKindServer)
)

// Arrive reads the caller's trace. It is a tap.ServerInHandle, because an interceptor
// would have to copy all of a call's metadata.
func (t *Tracer) Arrive(ctx context.Context, call *tap.Info) (context.Context, error) {
	if strings.HasPrefix(call.FullMethodName, ServicePrefix) || strings.HasPrefix(call.FullMethodName, ScorePrefix) {
		ctx = t.propagator.Extract(ctx, Metadata(call.Header))
	}
	return ctx, nil
}

// StartCall starts the span of a gRPC call that has arrived. method has no leading slash.
func (t *Tracer) StartCall(ctx context.Context, method string) (context.Context, trace.Span) {
	return t.Start(ctx, method, serverKind)
}

// EndCall ends the span of a gRPC call. An error of the caller is no error of the span.
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

// StatusName returns a status code as the semantic conventions write it, OUT_OF_RANGE for
// OutOfRange.
func StatusName(c codes.Code) string { return code.Code(c).String() }

// StartStreamed starts the span of one request of a stream, if the stream is sampled. end
// ends the span with the error of the request, a gRPC status.
func (t *Tracer) StartStreamed(ctx context.Context) (_ context.Context, end func(error)) {
	if !t.samples(ctx) {
		return ctx, func(error) {}
	}
	ctx, span := t.Start(ctx, streamMethod+" request")
	return ctx, func(err error) { EndCall(span, streamMethod, err) }
}

// StartRequest starts the span of an HTTP request. route is one of a bounded number.
func (t *Tracer) StartRequest(r *http.Request, route string) (context.Context, trace.Span) {
	ctx := t.propagator.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	return t.Start(ctx, r.Method+" "+route, serverKind)
}

// EndRequest ends the span of an HTTP request with the status code of the answer.
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

// Record records a span that has already ended, below the span of ctx. A nil st means
// success.
func (t *Tracer) Record(ctx context.Context, name string, start, end time.Time, st *status.Status, options ...trace.SpanStartOption) {
	_, span := t.Start(ctx, name, append(options, trace.WithTimestamp(start))...)
	Fail(span, st)
	span.End(trace.WithTimestamp(end))
}

// Fail sets the error of a span, with the message that the caller gets. It does nothing if st
// is nil or OK.
func Fail(span trace.Span, st *status.Status) {
	if st.Code() == codes.OK || !span.IsRecording() {
		return
	}
	span.SetAttributes(attribute.String(ErrorType, StatusName(st.Code())))
	span.SetStatus(otelcodes.Error, st.Message())
}

// Inject puts the trace of ctx into the header of a request to SGLang.
func (t *Tracer) Inject(ctx context.Context, h http.Header) {
	if t != nil && trace.SpanContextFromContext(ctx).IsValid() {
		t.propagator.Inject(ctx, propagation.HeaderCarrier(h))
	}
}

func (t *Tracer) samples(ctx context.Context) bool {
	return t != nil && trace.SpanContextFromContext(ctx).IsSampled()
}

// Sampled returns ctx if its span is sampled, and context.Background() otherwise, in which
// later lookups of the span are fast.
func (t *Tracer) Sampled(ctx context.Context) context.Context {
	if t.samples(ctx) {
		return ctx
	}
	return context.Background()
}

// Metadata implements propagation.TextMapCarrier with the metadata of a gRPC call.
type Metadata metadata.MD

// Get implements propagation.TextMapCarrier.
func (m Metadata) Get(key string) string {
	if values := metadata.MD(m).Get(key); len(values) > 0 {
		return values[0]
	}
	return ""
}

// Set implements propagation.TextMapCarrier.
func (m Metadata) Set(key, value string) { metadata.MD(m).Set(key, value) }

// Keys implements propagation.TextMapCarrier.
func (m Metadata) Keys() []string { return slices.Collect(maps.Keys(m)) }
