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

	upstream time.Duration // from sending the batch to this answer, over all calls
	attempts int           // calls to SGLang that included the prompt
}

// Parse converts a request to a prompt and checks it against the limits of SGLang. It is
// called once for each request. An error is a *FieldError.
type Parse func(Limits) (*Prompt, error)

// Outcome is how a prompt ended.
type Outcome struct {
	Answer  *Answer
	Receipt *pb.Receipt // nil beside an error
	Err     error       // ToStatus maps it
}

// Submit submits the prompt of a request and waits for its answer. host names the caller if
// ctx has no Caller. ToStatus maps the error.
func (u *Upstream) Submit(ctx context.Context, host string, parse Parse) Outcome {
	s := u.begin(ctx)
	item, err := s.item(CallerOf(ctx, host), parse)
	if err != nil {
		return s.failed(err)
	}
	began := time.Now()
	answer, receipt, err := u.Queue.Submit(ctx, item)
	return s.finish(ctx, item.Value, began, answer, receipt, err)
}

// SubmitFunc is Submit without waiting. It calls done exactly once, with a function that
// returns the outcome: before SubmitFunc returns if the prompt is refused, otherwise on the
// goroutine that ends the prompt. done must not block. outcome may be called
// once, on any goroutine.
func (u *Upstream) SubmitFunc(ctx context.Context, host string, parse Parse, done func(outcome func() Outcome)) {
	s := u.begin(ctx)
	item, err := s.item(CallerOf(ctx, host), parse)
	if err != nil {
		done(func() Outcome { return s.failed(err) })
		return
	}
	s.submitFunc(ctx, item, done)
}

func (s *submission) submitFunc(ctx context.Context, item batcher.Item[*Prompt], done func(outcome func() Outcome)) {
	began := time.Now()
	err := s.Queue.SubmitFunc(ctx, item, func(answer *Answer, receipt batcher.Receipt, err error) {
		done(func() Outcome { return s.finish(ctx, item.Value, began, answer, receipt, err) })
	})
	if err != nil {
		done(func() Outcome { return s.finish(ctx, item.Value, began, nil, batcher.Receipt{}, err) })
	}
}

// Room returns the error with which Submit would refuse some of these prompts, because the
// queue has no room for all of them; nil if it has. If it never has, the error is a
// *FieldError.
func (u *Upstream) Room(prompts []Prompt) error {
	var bytes int64
	for i := range prompts {
		bytes += int64(len(prompts[i].Request.Text) + 4*len(prompts[i].Request.InputIDs))
	}
	if most := u.Queue.Settings().QueueBytes; bytes > most {
		return WrongField("body", "must have prompts of at most %d bytes together, which is queue_bytes, got %d", most, bytes)
	}
	return u.Queue.Room(len(prompts), bytes)
}

// submission is one request from its arrival to its end.
type submission struct {
	*Upstream
	snapshot *Snapshot       // at its arrival; the only one that is read for it
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

// item makes the item for the batcher. Its prompt is parsed, encoded and stamped by the same
// snapshot.
func (s *submission) item(caller Caller, parse Parse) (item batcher.Item[*Prompt], err error) {
	if err := caller.reserve(1); err != nil {
		return item, err
	}
	if !s.snapshot.Ready {
		return item, &notReadyError{s.snapshot.Reason}
	}
	p, err := parse(s.snapshot.Limits)
	if err != nil {
		return item, err
	}
	if p.Request.CacheSalt != "" && s.snapshot.Lacks("/generate", "cache_salt") {
		return item, ErrNoSalts
	}
	p.generation = s.snapshot.generation
	if t := s.snapshot.tokenizer; t != nil && p.Request.Text != "" && p.Embed.Path != sglang.ClassifyPath {
		if err := encode(t, p, s.snapshot.Limits); err != nil {
			return item, err
		}
	}
	if !s.cfg.ShareAcrossKeys {
		p.owner = caller.Name
	}
	p.Request.RID, p.sampled = sglang.NewRID(), s.trace != context.Background()
	names, key := p.prefix(), p.key()
	if s.snapshot.SharesNothing != "" {
		names = nil
	}
	item = batcher.Item[*Prompt]{
		Value:    p,
		Bytes:    len(p.Request.Text) + 4*len(p.Request.InputIDs),
		Tokens:   len(p.Request.InputIDs),
		Key:      key,
		Caller:   caller.Name,
		Weight:   caller.Weight,
		Prefix:   names,
		MergeKey: mergeKey(p, key, names),
	}
	if p.Request.Text != "" {
		item.Tokens = s.textLength.tokens(p.Request.Text)
	}
	if p.Priority != nil {
		item.Priority = int(*p.Priority) // the queue has the order of SGLang's
	}
	return item, nil
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
	if p.Request.Text != "" {
		s.textLength.learn(p.Request.Text, answer.Meta.PromptTokens)
	}
	if receipt.Merged > 0 {
		answer = answer.of(p)
	}
	return Outcome{Answer: answer, Receipt: s.receipt(receipt, answer)}
}

// Caller identifies a caller, by the name of an API key or the host of the peer. Callers
// share SGLang in proportion to their weights.
type Caller struct {
	Name   string
	Weight float64       // 0 means 1
	Rate   *rate.Limiter // of prompts, and of requests that are passed on; nil sets no bound
}

type callerContext struct{}

// WithCaller returns a context with the caller of a request.
func WithCaller(ctx context.Context, c *Caller) context.Context {
	return context.WithValue(ctx, callerContext{}, c)
}

// CallerOf returns the caller of a context, or one named host without a rate limit.
func CallerOf(ctx context.Context, host string) Caller {
	if c, ok := ctx.Value(callerContext{}).(*Caller); ok {
		return *c
	}
	return Caller{Name: host}
}

// reserve counts n prompts, or one request, against the caller's rate, if that allows one now.
// Later ones then wait for the others too. The error is a *RateError.
func (c Caller) reserve(n int) error {
	if c.Rate == nil {
		return nil
	}
	now := time.Now()
	r := c.Rate.ReserveN(now, 1)
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return &RateError{wait}
	}
	for n--; n > 0; n -= c.Rate.Burst() {
		c.Rate.ReserveN(now, min(n, c.Rate.Burst()))
	}
	return nil
}
