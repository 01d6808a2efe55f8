package upstream

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"paceline/batcher"
	"paceline/proxy/telemetry"
	"paceline/sglang"
)

// Requests and batches have traces of their own, linked both ways:
//
//	request trace                        batch trace
//	  caller's span                        batch.dispatch    root; links to every sampled request
//	    …/Prefill                            batch.member    one per prompt; links to its requests
//	      batch.wait                         POST /generate  one per call; parent of SGLang's spans
//	      batch.execute   links to the batch

// traceRequest records the spans of a sampled request after it has ended: its wait in the
// queue and its execution.
func (u *Upstream) traceRequest(ctx context.Context, began time.Time, r batcher.Receipt, a *Answer, err error) {
	now := time.Now()
	if r.BatchID == 0 {
		u.tracer.Record(ctx, telemetry.SpanWait, began, now, ToStatus(err))
		return
	}
	released := began.Add(r.QueueWait)
	id := attribute.String(telemetry.BatchID, u.BatchID(r.BatchID))
	u.tracer.Record(ctx, telemetry.SpanWait, began, released, nil, trace.WithAttributes(id))

	attributes := []attribute.KeyValue{
		id,
		attribute.Int(telemetry.BatchSize, r.Size),
		attribute.Int(telemetry.BatchPosition, r.Position),
		attribute.String(telemetry.BatchReason, r.Reason.String()),
		attribute.Float64(telemetry.BatchWait, r.QueueWait.Seconds()),
		attribute.Int(telemetry.BatchMerged, r.Merged),
		attribute.Int(telemetry.BatchUncached, r.PredictedUncached),
	}
	if r.Predicted > 0 {
		attributes = append(attributes, attribute.Float64(telemetry.BatchPredicted, r.Predicted.Seconds()))
	}
	if err == nil {
		attributes = append(attributes,
			attribute.Int(telemetry.GenAIInputTokens, a.Meta.PromptTokens),
			attribute.Int(telemetry.GenAICachedTokens, a.Meta.CachedTokens),
			attribute.Int(telemetry.GenAIOutputTokens, a.Meta.CompletionTokens),
			attribute.Int(telemetry.BatchAttempts, a.attempts))
	}
	options := []trace.SpanStartOption{trace.WithAttributes(attributes...)}
	if batch, ok := r.Attached.(trace.SpanContext); ok {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: batch, Attributes: []attribute.KeyValue{id}}))
	}
	u.tracer.Record(ctx, telemetry.SpanExecute, released, now, ToStatus(err), options...)
}

// batchTrace is the trace of one batch.
type batchTrace struct {
	tracer   *telemetry.Tracer
	root     trace.Span
	ctx      context.Context //nolint:containedctx // of root, for the spans below it
	id       attribute.KeyValue
	released time.Time
	links    [][]trace.Link // by member, to its sampled requests; nil once its span is made
}

// traceBatch starts the trace of a batch, and returns its context. It returns ctx and nil
// if none of the requests is sampled.
func (u *Upstream) traceBatch(ctx context.Context, b *batch) (context.Context, *batchTrace) {
	if !anySampled(b) {
		return ctx, nil
	}
	return u.traceSampledBatch(ctx, b) // a function of its own, because its frame is large
}

// anySampled reports whether any request of a batch is sampled.
func anySampled(b *batch) bool {
	for i := range b.Size {
		if b.Value(i).sampled {
			return true
		}
	}
	if b.Merged == 0 {
		return false
	}
	for i := range b.Size {
		for _, request := range b.Requests(i) {
			if trace.SpanContextFromContext(request).IsSampled() {
				return true
			}
		}
	}
	return false
}

func (u *Upstream) traceSampledBatch(ctx context.Context, b *batch) (context.Context, *batchTrace) {
	requests, links, byMember := linksOf(b)
	id := attribute.String(telemetry.BatchID, u.BatchID(b.ID))
	host, port := hostPort(u.URL())
	attributes := []attribute.KeyValue{
		id,
		attribute.Int(telemetry.BatchSize, b.Size),
		attribute.Int(telemetry.BatchRequests, requests),
		attribute.String(telemetry.BatchReason, b.Reason.String()),
		attribute.String(telemetry.GenAIOperation, telemetry.OperationPrefill),
		attribute.String(telemetry.GenAIProvider, telemetry.ProviderSGLang),
		attribute.String(telemetry.GenAIModel, u.current.Load().Model),
		attribute.String(telemetry.ServerAddress, host),
		attribute.Int(telemetry.ServerPort, port),
	}
	if p := b.Predicted; p > 0 {
		attributes = append(attributes, attribute.Float64(telemetry.BatchPredicted, p.Seconds()))
	}
	ctx, root := u.tracer.Start(ctx, telemetry.SpanDispatch, trace.WithNewRoot(), trace.WithTimestamp(b.At),
		trace.WithLinks(links...), trace.WithAttributes(attributes...))
	b.Attach(root.SpanContext())
	t := &batchTrace{tracer: u.tracer, root: root, ctx: ctx, id: id, released: b.At}
	if u.tracer.Members {
		t.links = byMember
	}
	return ctx, t
}

// linksOf counts the requests of a batch, and returns links to the sampled ones, all together
// and by member. A link to a request that is not sampled would lead nowhere.
func linksOf(b *batch) (requests int, all []trace.Link, byMember [][]trace.Link) {
	byMember = make([][]trace.Link, b.Size)
	for i := range byMember {
		for _, request := range b.Requests(i) {
			requests++
			if sc := trace.SpanContextFromContext(request); sc.IsSampled() {
				l := trace.Link{SpanContext: sc, Attributes: []attribute.KeyValue{attribute.Int(telemetry.BatchPosition, i)}}
				all, byMember[i] = append(all, l), append(byMember[i], l)
			}
		}
	}
	return requests, all, byMember
}

// hostPort returns the host and port of a URL.
func hostPort(of string) (host string, port int) {
	u, err := url.Parse(of)
	if err != nil {
		return "", 0
	}
	port, _ = strconv.Atoi(u.Port())
	return u.Hostname(), port
}

// member records the span of a prompt that has ended.
func (t *batchTrace) member(i int, a *Answer, err error) {
	if t.links == nil || t.links[i] == nil {
		return
	}
	attributes := []attribute.KeyValue{t.id, attribute.Int(telemetry.BatchPosition, i)}
	if a != nil {
		attributes = append(attributes,
			attribute.Int(telemetry.GenAIInputTokens, a.Meta.PromptTokens),
			attribute.Int(telemetry.GenAICachedTokens, a.Meta.CachedTokens),
			attribute.Int(telemetry.BatchAttempts, a.attempts))
	}
	t.tracer.Record(t.ctx, telemetry.SpanMember, t.released, time.Now(), ToStatus(err),
		trace.WithAttributes(attributes...), trace.WithLinks(t.links[i]...))
	t.links[i] = nil
}

// call starts the span of one call to SGLang.
func (t *batchTrace) call(ctx context.Context, path string, prompts, attempt int) (_ context.Context, end func(error)) {
	ctx, span := t.tracer.Start(ctx, http.MethodPost+" "+path, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String(telemetry.HTTPMethod, http.MethodPost), attribute.String(telemetry.URLPath, path),
		attribute.Int(telemetry.BatchSize, prompts), attribute.Int(telemetry.BatchAttempts, attempt)))
	return ctx, func(err error) {
		var e *sglang.Error
		switch {
		case err == nil:
			span.SetAttributes(attribute.Int(telemetry.HTTPStatus, http.StatusOK))
		case errors.As(err, &e) && e.Status > 0:
			span.SetAttributes(attribute.Int(telemetry.HTTPStatus, e.Status))
		}
		telemetry.Fail(span, ToStatus(err))
		span.End()
	}
}

// finish records the members that are left, whose callers have gone, and ends the trace.
func (t *batchTrace) finish(f *BatchFacts, split bool, err error) {
	for i := range t.links {
		t.member(i, nil, nil)
	}
	t.root.SetAttributes(
		attribute.Int(telemetry.BatchCalls, f.Calls), attribute.Bool(telemetry.BatchSplit, split),
		attribute.Int(telemetry.GenAIInputTokens, f.PromptTokens), attribute.Int(telemetry.GenAICachedTokens, f.CachedTokens))
	telemetry.Fail(t.root, ToStatus(err))
	t.root.End()
}
