package upstream

import (
	"context"
	"time"

	"golang.org/x/time/rate"

	"paceline/batcher"
	pb "paceline/proto/paceline/v1"
	"paceline/proxy/telemetry"
	"paceline/sglang"
)

// Answer is SGLang's answer to one prompt.
type Answer struct {
	sglang.Answer

	upstream time.Duration // from sending the batch to having this answer, over all attempts
	attempts int           // calls to SGLang that the prompt took part in
}

// Parse makes a prompt of a request and checks it against what SGLang serves. It is
// called once for each request. An error is a *FieldError.
type Parse func(Limits) (*Prompt, error)

// Outcome is how a prompt ended.
type Outcome struct {
	Answer  *Answer
	Receipt *pb.Receipt // nil beside an error
	Err     error       // ToStatus maps it
}

// Submit has the prompt of a request answered and waits for that. host is the
// caller's where ctx has no Caller. An error is one that ToStatus maps.
func (u *Upstream) Submit(ctx context.Context, host string, parse Parse) Outcome {
	s := u.begin(ctx)
	item, err := s.item(ctx, host, parse)
	if err != nil {
		return s.failed(err)
	}
	began := time.Now()
	answer, receipt, err := u.Queue.Submit(ctx, item)
	return s.finish(ctx, item.Value, began, answer, receipt, err)
}

// SubmitFunc is Submit for callers that can't wait. It calls done exactly once: at
// once where the prompt is refused, else on the goroutine that ends the prompt, with
// a function that returns the outcome. done must neither block nor call the queue; the
// outcome may be asked for on any goroutine, once.
func (u *Upstream) SubmitFunc(ctx context.Context, host string, parse Parse, done func(outcome func() Outcome)) {
	s := u.begin(ctx)
	item, err := s.item(ctx, host, parse)
	if err != nil {
		done(func() Outcome { return s.failed(err) })
		return
	}
	began := time.Now()
	err = u.Queue.SubmitFunc(ctx, item, func(answer *Answer, receipt batcher.Receipt, err error) {
		done(func() Outcome { return s.finish(ctx, item.Value, began, answer, receipt, err) })
	})
	if err != nil {
		done(func() Outcome { return s.finish(ctx, item.Value, began, nil, batcher.Receipt{}, err) })
	}
}

// submission is one request from its arrival to its end.
type submission struct {
	*Upstream
	snapshot *Snapshot       // when it came: the only one that is read for it
	trace    context.Context //nolint:containedctx // as Tracer.Sampled has it
	began    time.Time
}

func (u *Upstream) begin(ctx context.Context) submission {
	s := submission{u, u.current.Load(), context.Background(), time.Now()}
	if u.tracer != nil {
		s.trace = u.tracer.Sampled(ctx)
	}
	return s
}

// item makes the batcher's request. Its prompt is parsed, encoded and stamped by the
// same snapshot.
func (s *submission) item(ctx context.Context, host string, parse Parse) (item batcher.Item[*Prompt], err error) {
	caller := callerOf(ctx, host)
	if err := caller.reserve(); err != nil {
		return item, err
	}
	if !s.snapshot.Ready {
		return item, &notReadyError{s.snapshot.Reason}
	}
	p, err := parse(s.snapshot.Limits)
	if err != nil {
		return item, err
	}
	if err := s.snapshot.bind(p); err != nil {
		return item, err
	}
	p.Request.RID, p.sampled = sglang.NewRID(), s.trace != context.Background()
	names, key := p.prefix(), p.key()
	item = batcher.Item[*Prompt]{
		Value:    p,
		Bytes:    len(p.Request.Text) + 4*len(p.Request.InputIDs),
		Tokens:   s.textLength.tokens(&p.Request),
		Key:      key,
		Caller:   caller.Name,
		Weight:   caller.Weight,
		Prefix:   names,
		MergeKey: s.mergeKeys.of(p, key, names),
	}
	if p.Priority != nil {
		item.Priority = int(*p.Priority) // the queue is in the order that SGLang's would have
	}
	return item, nil
}

// bind encodes a prompt that was parsed with the snapshot's limits, and stamps it.
func (s *Snapshot) bind(p *Prompt) error {
	p.generation = s.generation
	if s.encoder.ids == nil || p.Request.Text == "" {
		return nil
	}
	return s.encoder.apply(p, s.Limits)
}

// failed ends a request with an error.
func (s *submission) failed(err error) Outcome {
	s.metrics.Ended(s.trace, s.snapshot.Model, s.began, endOf(err))
	return Outcome{Err: err}
}

// finish ends a request that was handed to the queue.
func (s *submission) finish(ctx context.Context, p *Prompt, began time.Time, answer *Answer, receipt batcher.Receipt, err error) Outcome {
	if s.trace != context.Background() {
		s.traceRequest(ctx, began, receipt, answer, err)
	}
	if receipt.BatchID != 0 {
		s.metrics.Waited(s.trace, receipt.QueueWait)
	}
	if err != nil {
		return s.failed(err)
	}
	s.metrics.Ended(s.trace, s.snapshot.Model, s.began, telemetry.End{Outcome: telemetry.OutcomeAnswered})
	s.textLength.learn(&p.Request, answer.Meta.PromptTokens)
	return Outcome{Answer: answer, Receipt: s.receipts.write(receipt, answer)}
}

// Caller is who asks: the name of an API key, or the host of the peer. Callers
// share SGLang in proportion to their weights.
type Caller struct {
	Name   string
	Weight float64       // 0 is 1
	Rate   *rate.Limiter // of prompts; nil sets no bound
}

type callerContext struct{}

// WithCaller notes whose request a context belongs to.
func WithCaller(ctx context.Context, c *Caller) context.Context {
	return context.WithValue(ctx, callerContext{}, c)
}

// callerOf returns the caller of a context, or one with the name of the host, which
// is unbounded.
func callerOf(ctx context.Context, host string) Caller {
	if c, ok := ctx.Value(callerContext{}).(*Caller); ok {
		return *c
	}
	return Caller{Name: host}
}

// reserve counts one prompt against the caller's rate. The error is a *rateError.
func (c Caller) reserve() error {
	if c.Rate == nil {
		return nil
	}
	r := c.Rate.Reserve()
	if wait := r.Delay(); wait > 0 {
		r.Cancel()
		return &rateError{wait}
	}
	return nil
}
