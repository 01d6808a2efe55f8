package upstream

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"paceline/batcher"
	"paceline/proxy/telemetry"
	"paceline/sglang"
)

// The spans of requests and batches:
//
//	request trace                        batch trace, a root of its own
//	  caller's span                        batch.dispatch    links to every sampled request
//	    …/Prefill                            batch.member    one a prompt, links to its request
//	      batch.wait                         POST /generate  one a call, parent of SGLang's own
//	      batch.execute   links to the batch

// traceRequest makes the spans of a sampled request's way through the batcher, once it
// has ended.
func (u *Upstream) traceRequest(ctx context.Context, began time.Time, r batcher.Receipt, a *Answer, err error) {
	now := time.Now()
	if r.BatchID == 0 {
		u.record(ctx, telemetry.Finished{Name: telemetry.SpanWait, Start: began, End: now}, err)
		return
	}
	about := make([]attribute.KeyValue, 0, 13)
	about = append(about,
		attribute.String(telemetry.BatchID, u.receipts.batchID(r.BatchID)),
		attribute.Int(telemetry.BatchSize, r.Size),
		attribute.Int(telemetry.BatchPosition, r.Position),
		attribute.String(telemetry.BatchReason, r.Reason.String()),
		attribute.Float64(telemetry.BatchWait, r.QueueWait.Seconds()))
	released := began.Add(r.QueueWait)
	id := about[:1:1]
	u.record(ctx, telemetry.Finished{Name: telemetry.SpanWait, Start: began, End: released, Attributes: id}, nil)

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
	u.record(ctx, execute, err)
}

// record makes a span of what is over, and of how it failed, if it did.
func (u *Upstream) record(ctx context.Context, f telemetry.Finished, err error) {
	if err != nil {
		kind, status := failure(err)
		f.Attributes, f.Status = append(f.Attributes, kind), status
	}
	telemetry.Record(ctx, u.tracer.Tracer, f)
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
	st := ToStatus(err)
	return attribute.String(telemetry.ErrorType, telemetry.StatusName(st.Code())), sdktrace.Status{Code: otelcodes.Error, Description: st.Message()}
}

// batchTrace is the trace of one batch; nil where none of its requests is sampled.
type batchTrace struct {
	*Upstream
	root     trace.Span
	under    context.Context //nolint:containedctx // of root
	id       attribute.KeyValue
	released time.Time
	members  [][]trace.Link // to the requests of each; nil where none is sampled, or its row is made; without rows, none at all
}

// traceBatch begins the trace of a batch, and returns its context.
func (u *Upstream) traceBatch(ctx context.Context, b *batch) (context.Context, *batchTrace) {
	if u.tracer == nil || !anySampled(b) {
		return ctx, nil
	}
	return u.traceSampledBatch(ctx, b) // a function of its own: its frame is large
}

func (u *Upstream) traceSampledBatch(ctx context.Context, b *batch) (context.Context, *batchTrace) {
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
	id := attribute.String(telemetry.BatchID, u.BatchID(b.ID()))
	host, port := hostPort(u.URL())
	ctx, root := u.tracer.Start(ctx, telemetry.SpanDispatch, trace.WithNewRoot(), trace.WithTimestamp(b.Released()), trace.WithLinks(links...),
		trace.WithAttributes(
			id, attribute.Int(telemetry.BatchSize, b.Len()), attribute.Int(telemetry.BatchRequests, requests),
			attribute.String(telemetry.BatchReason, b.Reason().String()),
			attribute.String(telemetry.GenAIOperation, telemetry.OperationPrefill), attribute.String(telemetry.GenAIProvider, telemetry.ProviderSGLang),
			attribute.String(telemetry.GenAIModel, u.Snapshot().Model),
			attribute.String(telemetry.ServerAddress, host), attribute.Int(telemetry.ServerPort, port),
		))
	if p := b.Predicted(); p > 0 {
		root.SetAttributes(attribute.Float64(telemetry.BatchPredicted, p.Seconds()))
	}
	bt := &batchTrace{Upstream: u, root: root, under: ctx, id: id, released: b.Released()}
	if u.tracer.Members {
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
func (b *batchTrace) member(i int, a *Answer, err error) {
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
	b.record(b.under, telemetry.Finished{
		Name: telemetry.SpanMember, Start: b.released, End: time.Now(), Attributes: about, Links: b.members[i],
	}, err)
	b.members[i] = nil
}

// call begins the span of one call to SGLang.
func (b *batchTrace) call(ctx context.Context, prompts, attempt int) (context.Context, func(error)) {
	if b == nil {
		return ctx, func(error) {}
	}
	ctx, span := b.tracer.Start(ctx, telemetry.SpanGenerate, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
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
func (b *batchTrace) end(f *BatchFacts, split bool, err error) {
	if b == nil {
		return
	}
	for i := range b.members {
		b.member(i, nil, nil) // of those whose request has gone
	}
	b.root.SetAttributes(
		attribute.Int(telemetry.BatchCalls, f.Calls), attribute.Bool(telemetry.BatchSplit, split),
		attribute.Int(telemetry.GenAIInputTokens, f.PromptTokens), attribute.Int(telemetry.GenAICachedTokens, f.CachedTokens))
	failed(b.root, err)
	b.root.End()
}
