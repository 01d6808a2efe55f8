package server

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"paceline/batcher"
	pb "paceline/proto/paceline/v1"
	"paceline/proxy/telemetry"
	"paceline/sglang"
)

// tracer makes the spans of requests and batches:
//
//	request trace                        batch trace, a root of its own
//	  caller's span                        batch.dispatch    links to every sampled request
//	    …/Prefill                            batch.member    one a prompt, links to its request
//	      batch.wait                         POST /generate  one a call, parent of SGLang's own
//	      batch.execute   links to the batch
//
// No span tells any of a prompt. A nil tracer makes none, and costs nothing.
type tracer struct {
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
	members    bool // whether batches have a row for each prompt
}

// newTracer returns nil where the configuration names no provider.
func newTracer(cfg Config) *tracer {
	if cfg.TracerProvider == nil {
		return nil
	}
	p := cfg.Propagator
	if p == nil {
		p = propagation.TraceContext{}
	}
	return &tracer{
		tracer:     cfg.TracerProvider.Tracer("paceline/proxy", trace.WithInstrumentationVersion(cfg.Version)),
		propagator: p, members: cfg.TraceDetail != TraceDetailLinks,
	}
}

// traced says whether calls of a method get a span: what probes and reflects has
// nothing to show.
func traced(method string) bool {
	return strings.HasPrefix(method, "/"+pb.PrefillService_ServiceDesc.ServiceName+"/")
}

// Made once.
var (
	streamedSpan = pb.PrefillService_PrefillStream_FullMethodName[1:] + " request"
	grpcSystem   = attribute.String(telemetry.RPCSystem, "grpc")
)

// arrive reads the caller's trace, as a tap.ServerInHandle: interceptors have no way to
// what a call brings that does not go through all of it.
func (t *tracer) arrive(ctx context.Context, call *tap.Info) (context.Context, error) {
	if traced(call.FullMethodName) {
		ctx = t.propagator.Extract(ctx, telemetry.Metadata(call.Header))
	}
	return ctx, nil
}

// call begins the span of a call of gRPC that has arrived, by its method without the
// first slash.
func (t *tracer) call(ctx context.Context, method string) (context.Context, trace.Span) {
	return telemetry.StartLocal(ctx, t.tracer, method, trace.SpanKindServer)
}

// endCall notes how a call ended. Errors of the caller are no errors of the server.
func endCall(span trace.Span, method string, err error) {
	if !span.IsRecording() {
		return
	}
	st := status.Convert(err)
	span.SetAttributes(grpcSystem, attribute.String(telemetry.RPCMethod, method), attribute.String(telemetry.RPCStatus, statusName(st.Code())))
	switch st.Code() {
	case codes.OK, codes.InvalidArgument, codes.Canceled, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied,
		codes.Unauthenticated, codes.FailedPrecondition, codes.OutOfRange:
	default:
		span.SetStatus(otelcodes.Error, st.Message())
	}
}

// statusName is a code as the semantic conventions write it.
func statusName(c codes.Code) string {
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

// one makes the span of a request of a stream, which is sampled as the stream is.
func (t *tracer) one(ctx context.Context) (context.Context, func(error)) {
	if !t.samples(ctx) {
		return ctx, func(error) {}
	}
	ctx, span := t.tracer.Start(ctx, streamedSpan)
	return ctx, func(err error) {
		if err != nil {
			err = statusOf(err).Err()
		}
		endCall(span, pb.PrefillService_PrefillStream_FullMethodName[1:], err)
		span.End()
	}
}

// request begins the span of an HTTP request.
func (t *tracer) request(r *http.Request) (context.Context, trace.Span) {
	ctx := t.propagator.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	return t.tracer.Start(ctx, r.Method+" "+route(r.URL.Path), trace.WithSpanKind(trace.SpanKindServer))
}

// endRequest notes how it ended.
func endRequest(span trace.Span, r *http.Request, code int) {
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(
		attribute.String(telemetry.HTTPMethod, r.Method), attribute.String(telemetry.HTTPRoute, route(r.URL.Path)),
		attribute.Int(telemetry.HTTPStatus, code))
	if code >= http.StatusInternalServerError {
		span.SetStatus(otelcodes.Error, http.StatusText(code))
	}
}

// route is a path as it may stand in a span's name: one of those that are known.
func route(path string) string {
	switch {
	case path == "/abort_request", path == "/v1/completions", path == "/v1/chat/completions":
		return path
	case strings.HasPrefix(path, "/v1/"):
		return "/v1/*"
	}
	for _, known := range passedPaths {
		if path == known {
			return path
		}
	}
	return "/*"
}

// inject puts the trace of ctx on a request to SGLang.
func (t *tracer) inject(ctx context.Context, h http.Header) {
	if t != nil && trace.SpanContextFromContext(ctx).IsValid() {
		t.propagator.Inject(ctx, propagation.HeaderCarrier(h))
	}
}

// samples says whether the trace of a request is sampled.
func (t *tracer) samples(ctx context.Context) bool {
	return t != nil && trace.SpanContextFromContext(ctx).IsSampled()
}

// sampled is the context of a request whose trace is sampled, and else one in which
// there is nothing to look through.
func (t *tracer) sampled(ctx context.Context) context.Context {
	if t.samples(ctx) {
		return ctx
	}
	return context.Background()
}

// placed makes the spans of a sampled request's way through the batcher, once it has
// ended.
func (t *tracer) placed(ctx context.Context, b *backend, began time.Time, r batcher.Receipt, a *answer, err error) {
	now := time.Now()
	if r.BatchID == 0 {
		t.record(ctx, telemetry.Finished{Name: telemetry.SpanWait, Start: began, End: now}, err)
		return
	}
	about := make([]attribute.KeyValue, 0, 13)
	about = append(about,
		attribute.String(telemetry.BatchID, b.receipts.batchID(r.BatchID)),
		attribute.Int(telemetry.BatchSize, r.Size),
		attribute.Int(telemetry.BatchPosition, r.Position),
		attribute.String(telemetry.BatchReason, r.Reason.String()),
		attribute.Float64(telemetry.BatchWait, r.QueueWait.Seconds()))
	released := began.Add(r.QueueWait)
	id := about[:1:1]
	t.record(ctx, telemetry.Finished{Name: telemetry.SpanWait, Start: began, End: released, Attributes: id}, nil)

	about = append(about, attribute.Int(telemetry.BatchMerged, r.Merged), attribute.Int(telemetry.BatchUncached, r.PredictedUncached))
	if r.Predicted > 0 {
		about = append(about, attribute.Float64(telemetry.BatchPredicted, r.Predicted.Seconds()))
	}
	if err == nil {
		about = append(about,
			attribute.Int(telemetry.GenAIInputTokens, a.Meta.PromptTokens),
			attribute.Int(telemetry.GenAICachedTokens, a.Meta.CachedTokens),
			attribute.Int(telemetry.GenAIOutputTokens, a.Meta.CompletionTokens),
			attribute.Int(telemetry.BatchAttempts, a.attempts))
	}
	execute := telemetry.Finished{Name: telemetry.SpanExecute, Start: released, End: now, Attributes: about}
	if batch, ok := r.Attached.(trace.SpanContext); ok {
		execute.Links = []trace.Link{{SpanContext: batch, Attributes: id}}
	}
	t.record(ctx, execute, err)
}

// record makes a span of what is over, and of how it failed, if it did.
func (t *tracer) record(ctx context.Context, f telemetry.Finished, err error) {
	if err != nil {
		kind, status := failure(err)
		f.Attributes, f.Status = append(f.Attributes, kind), status
	}
	telemetry.Record(ctx, t.tracer, f)
}

// failed notes an error on a span, in the words that a caller gets.
func failed(span trace.Span, err error) {
	if err == nil {
		return
	}
	kind, status := failure(err)
	span.SetAttributes(kind)
	span.SetStatus(status.Code, status.Description)
}

// failure is what a span tells of an error.
func failure(err error) (attribute.KeyValue, sdktrace.Status) {
	st := statusOf(err)
	return attribute.String(telemetry.ErrorType, statusName(st.Code())), sdktrace.Status{Code: otelcodes.Error, Description: st.Message()}
}

// batchTrace is the trace of one batch; nil where none of its requests is sampled.
type batchTrace struct {
	tracer   *tracer
	root     trace.Span
	under    context.Context // of root
	id       attribute.KeyValue
	released time.Time
	members  [][]trace.Link // to the requests of each; nil where none is sampled, or its row is made; without rows, none at all
}

// batch begins the trace of a batch, and returns its context.
func (t *tracer) batch(ctx context.Context, d *dispatcher, b *batch) (context.Context, *batchTrace) {
	if t == nil || !anySampled(b) {
		return ctx, nil
	}
	return t.sampledBatch(ctx, d, b) // a function of its own: its frame is large
}

func (t *tracer) sampledBatch(ctx context.Context, d *dispatcher, b *batch) (context.Context, *batchTrace) {
	requests := 0
	links := make([]trace.Link, 0, b.Len())
	byMember := make([][]trace.Link, b.Len())
	for i := range b.Len() {
		for _, request := range b.Requests(i) {
			requests++
			sc := trace.SpanContextFromContext(request)
			if !sc.IsSampled() {
				continue // a link would lead nowhere
			}
			l := trace.Link{SpanContext: sc, Attributes: []attribute.KeyValue{attribute.Int(telemetry.BatchPosition, i)}}
			links, byMember[i] = append(links, l), append(byMember[i], l)
		}
	}
	id := attribute.String(telemetry.BatchID, d.receipts.batchID(b.ID()))
	host, port := hostPort(d.client.URL())
	ctx, root := t.tracer.Start(ctx, telemetry.SpanDispatch, trace.WithNewRoot(), trace.WithTimestamp(b.Released()), trace.WithLinks(links...),
		trace.WithAttributes(
			id, attribute.Int(telemetry.BatchSize, b.Len()), attribute.Int(telemetry.BatchRequests, requests),
			attribute.String(telemetry.BatchReason, b.Reason().String()),
			attribute.String(telemetry.GenAIOperation, telemetry.OperationPrefill), attribute.String(telemetry.GenAIProvider, telemetry.ProviderSGLang),
			attribute.String(telemetry.GenAIModel, d.upstream.state().model()),
			attribute.String(telemetry.ServerAddress, host), attribute.Int(telemetry.ServerPort, port),
		))
	if p := b.Predicted(); p > 0 {
		root.SetAttributes(attribute.Float64(telemetry.BatchPredicted, p.Seconds()))
	}
	bt := &batchTrace{tracer: t, root: root, under: ctx, id: id, released: b.Released()}
	if t.members {
		bt.members = byMember
	}
	b.Attach(root.SpanContext())
	return ctx, bt
}

// anySampled says whether a request of a batch is sampled.
func anySampled(b *batch) bool {
	for i := range b.Len() {
		if b.Value(i).sampled {
			return true
		}
	}
	if b.Merged() == 0 {
		return false
	}
	for i := range b.Len() {
		for _, request := range b.Requests(i) {
			if trace.SpanContextFromContext(request).IsSampled() {
				return true
			}
		}
	}
	return false
}

// hostPort is where a URL points.
func hostPort(of string) (host string, port int) {
	u, err := url.Parse(of)
	if err != nil {
		return "", 0
	}
	port, _ = strconv.Atoi(u.Port())
	return u.Hostname(), port
}

// member makes the row of a prompt that has ended.
func (b *batchTrace) member(i int, a *answer, err error) {
	if b == nil || b.members == nil || b.members[i] == nil {
		return
	}
	about := make([]attribute.KeyValue, 0, 6)
	about = append(about, b.id, attribute.Int(telemetry.BatchPosition, i))
	if a != nil {
		about = append(about,
			attribute.Int(telemetry.GenAIInputTokens, a.Meta.PromptTokens), attribute.Int(telemetry.GenAICachedTokens, a.Meta.CachedTokens),
			attribute.Int(telemetry.BatchAttempts, a.attempts))
	}
	b.tracer.record(b.under, telemetry.Finished{
		Name: telemetry.SpanMember, Start: b.released, End: time.Now(), Attributes: about, Links: b.members[i],
	}, err)
	b.members[i] = nil
}

// call begins the span of one call to SGLang.
func (b *batchTrace) call(ctx context.Context, prompts, attempt int) (context.Context, func(error)) {
	if b == nil {
		return ctx, func(error) {}
	}
	ctx, span := b.tracer.tracer.Start(ctx, telemetry.SpanGenerate, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String(telemetry.HTTPMethod, http.MethodPost), attribute.String(telemetry.URLPath, "/generate"),
		attribute.Int(telemetry.BatchSize, prompts), attribute.Int(telemetry.BatchAttempts, attempt)))
	return ctx, func(err error) {
		var e *sglang.Error
		switch {
		case err == nil:
			span.SetAttributes(attribute.Int(telemetry.HTTPStatus, http.StatusOK))
		case errors.As(err, &e) && e.Status > 0:
			span.SetAttributes(attribute.Int(telemetry.HTTPStatus, e.Status))
		}
		failed(span, err)
		span.End()
	}
}

// end ends what is left, with what the batch came to.
func (b *batchTrace) end(f *batchFacts, split bool, err error) {
	if b == nil {
		return
	}
	for i := range b.members {
		b.member(i, nil, nil) // of those whose request has gone
	}
	b.root.SetAttributes(
		attribute.Int(telemetry.BatchCalls, f.calls), attribute.Bool(telemetry.BatchSplit, split),
		attribute.Int(telemetry.GenAIInputTokens, f.prompt), attribute.Int(telemetry.GenAICachedTokens, f.cached))
	failed(b.root, err)
	b.root.End()
}
