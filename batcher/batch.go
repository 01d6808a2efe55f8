package batcher

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"paceline/batcher/prefix"
	"paceline/batcher/tune"
)

// Sender sends batches to the server.
type Sender[Q, R any] interface {
	// Send sends a batch and returns one result for each member, in order. A member
	// without a result fails with ErrUnanswered. A result has no effect on a member
	// that Batch.Answer has ended, or whose callers have gone. ctx ends when the
	// callers of all members have gone, and at Close. Each Send has its own goroutine.
	Send(ctx context.Context, b *Batch[Q, R]) []Result[R]
}

// Result is the outcome of a member: an error, if Err is not nil, or a value.
type Result[R any] struct {
	Value R
	Usage Usage
	Err   error
}

// Usage is the server's count of the tokens of a prompt. Zero means unknown.
type Usage struct {
	PromptTokens int
	CachedTokens int // of these, from its prefix cache
}

// Release says how and why a batch was released.
type Release struct {
	ID        uint64 // numbers the batches of one Batcher from 1
	Reason    Reason
	At        time.Time
	Predicted time.Duration // from the release to the answers; 0: unknown
	Size      int           // members; merged items are one
	Limit     int           // the batch size in force at the release
	Merged    int           // items that needed no prompt of their own
	Shared    int           // tokens that another prompt has had cached since the members were accepted
}

// Batch is a released batch. Its Sender may call its methods from any goroutine until
// Send returns.
type Batch[Q, R any] struct {
	Release

	// Gone yields each member whose callers have all gone before an answer: what is done
	// for it may stop.
	Gone chan int

	owner   *Batcher[Q, R]
	ctx     context.Context
	cancel  context.CancelFunc
	members []member[Q, R]

	uncached float64 // tokens that it was expected to cost

	// Guarded by owner.mu.
	live     int // items whose caller still waits
	attached any
	answered int          // members with a usage
	used     tune.Account // its cost so far; Clean while no call of it has failed
}

// member is one prompt of a batch.
type member[Q, R any] struct {
	leader *pending[Q, R] // at the release; has the value, and its caller is charged
	ctx    context.Context
	leave  context.CancelFunc // ends ctx; nil where ctx is that of the only caller

	// Guarded by owner.mu.
	items    []*pending[Q, R] // the items that it answers and that have not ended
	ended    bool             // by the Sender
	uncached float64          // tokens that it was expected to cost
	inFlight prefix.InFlight
}

// bind puts the items of member i into the batch. It requires owner.mu.
func (b *Batch[Q, R]) bind(i int) {
	m := &b.members[i]
	m.ctx = m.leader.ctx
	if len(m.items) > 1 {
		m.ctx, m.leave = context.WithCancel(context.WithoutCancel(m.ctx))
	}
	for _, p := range m.items {
		p.batch = b
		p.receipt = Receipt{
			BatchID: b.ID, Size: b.Size, Position: i, Reason: b.Reason,
			QueueWait: b.At.Sub(p.accepted), Merged: len(m.items) - 1,
			Predicted: b.Predicted, PredictedUncached: int(m.uncached),
		}
	}
	b.live += len(m.items)
}

// send calls the Sender, ends the members, and releases the batches for which the slot
// is free now.
func (b *Batch[Q, R]) send() {
	results := b.owner.sender.Send(b.ctx, b)
	b.cancel()
	o := b.owner
	o.mu.Lock()
	defer o.unlock()
	for i := range b.members {
		r := Result[R]{Err: ErrUnanswered}
		if i < len(results) {
			r = results[i]
		}
		if r.Err != nil && o.closed {
			r.Err = ErrClosed
		}
		b.complete(i, r)
	}
	delete(o.inFlight, b)
	o.uncachedInFlight -= b.uncached
	now := time.Now()
	b.used.Clean = b.used.Clean && b.answered == len(b.members)
	o.meter.Ended(b.used, len(o.inFlight), now)
	o.release(now)
}

// Value returns the value of member i.
func (b *Batch[Q, R]) Value(i int) Q { return b.members[i].leader.Value }

// Values returns the values of all items of member i that have not ended.
func (b *Batch[Q, R]) Values(i int) []Q {
	b.owner.mu.Lock()
	defer b.owner.unlock()
	all := make([]Q, len(b.members[i].items))
	for k, p := range b.members[i].items {
		all[k] = p.Value
	}
	return all
}

// Context returns a context that ends when the last caller of member i has gone. It has
// the values of the first caller's context, such as its trace.
func (b *Batch[Q, R]) Context(i int) context.Context { return b.members[i].ctx }

// Requests returns the contexts of all items of member i that have not ended.
func (b *Batch[Q, R]) Requests(i int) []context.Context {
	b.owner.mu.Lock()
	defer b.owner.unlock()
	var all []context.Context
	for _, p := range b.members[i].items {
		all = append(all, p.ctx)
	}
	return all
}

// Attach puts a value of the Sender, such as a trace, on the receipts of the items that
// end after it.
func (b *Batch[Q, R]) Attach(v any) {
	b.owner.mu.Lock()
	defer b.owner.unlock()
	b.attached = v
}

// Answer ends member i before Send returns. It does nothing if the member has ended.
func (b *Batch[Q, R]) Answer(i int, r Result[R]) {
	b.owner.mu.Lock()
	defer b.owner.unlock()
	if b.complete(i, r) {
		b.owner.release(time.Now())
	}
}

// Succeeded records a call that the server answered. A refusal is an answer, too.
func (b *Batch[Q, R]) Succeeded() {
	b.owner.mu.Lock()
	defer b.owner.unlock()
	if b.owner.breaker.succeeded() {
		b.owner.release(time.Now())
	}
}

// Split records that the batch is sent again in parts because a member is bad.
func (b *Batch[Q, R]) Split() {
	b.owner.mu.Lock()
	defer b.owner.unlock()
	b.owner.stats.Splits++
	b.used.Clean = false
}

// Failed records a call that failed through the server's own fault. The breaker counts it.
func (b *Batch[Q, R]) Failed() {
	b.owner.mu.Lock()
	defer b.owner.unlock()
	b.owner.breaker.failed(b.owner.settings.BreakerFailures, time.Now())
}

// Retry asks to repeat a failed call of this batch. attempt counts its calls from 1.
// Retry pauses and then reports whether to repeat the call. It returns false if
// Settings.Retries or the budget of repeats is used up, if the breaker is open, or when
// ctx ends.
func (b *Batch[Q, R]) Retry(ctx context.Context, attempt int) bool {
	if !b.mayRetry(attempt) {
		return false
	}
	select {
	case <-time.After(backoff(attempt, rand.Float64())):
		return true
	case <-ctx.Done():
		return false
	}
}

func (b *Batch[Q, R]) mayRetry(attempt int) bool {
	o, now := b.owner, time.Now()
	o.mu.Lock()
	defer o.unlock()
	b.used.Clean = false
	if attempt > o.settings.Retries || o.breaker.open(now) || !o.breaker.retry() {
		return false
	}
	o.stats.Retries++
	return true
}

// complete ends member i, unless it has ended, and reports whether it freed prompts that
// were held for it. It requires owner.mu.
func (b *Batch[Q, R]) complete(i int, r Result[R]) (freed bool) {
	m := &b.members[i]
	if m.ended {
		return false
	}
	m.ended = true
	ends := &b.owner.stats.Failed
	if r.Err == nil {
		b.learn(m, r.Usage)
		ends = &b.owner.stats.Answered
	}
	freed = b.owner.model.Finish(&m.inFlight)
	for _, p := range m.items {
		*ends++
		p.result = r.Value
		b.finish(p, r.Err)
	}
	m.items = nil
	return freed
}

// learn learns from the server's counts of a member. It requires owner.mu.
func (b *Batch[Q, R]) learn(m *member[Q, R], u Usage) {
	if u.PromptTokens <= 0 {
		return
	}
	uncached := float64(u.PromptTokens - u.CachedTokens)
	b.owner.callers.serve(m.leader.caller, uncached-m.uncached)
	b.answered++
	b.used.Uncached += uncached
	b.used.Tokens += float64(u.PromptTokens)
	b.owner.model.SetTime(time.Now())
	b.owner.model.Answer(&m.inFlight, cachedBlocks(u, float64(m.leader.Bytes)/prefix.BlockBytes))
}

// cachedBlocks returns how many of a prompt's blocks the server had in its cache. One block
// more than it counted is no contradiction: a block of text has no fixed number of tokens,
// and the server always computes the last token.
func cachedBlocks(u Usage, blocks float64) int {
	if u.CachedTokens == 0 {
		return 0
	}
	return 1 + int(float64(u.CachedTokens)/float64(u.PromptTokens)*blocks)
}

// abandon ends an item whose caller has gone. It requires owner.mu.
func (b *Batch[Q, R]) abandon(p *pending[Q, R], err error) {
	m := &b.members[p.receipt.Position]
	i := slices.Index(m.items, p)
	m.items = slices.Delete(m.items, i, i+1)
	b.finish(p, err)
	if len(m.items) == 0 {
		b.Gone <- p.receipt.Position
		if m.leave != nil {
			m.leave()
		}
	}
	if b.live == 0 {
		b.cancel()
	}
}

// finish ends an item of the batch. It requires owner.mu.
func (b *Batch[Q, R]) finish(p *pending[Q, R], err error) {
	p.receipt.Attached = b.attached
	b.live--
	b.owner.stats.InFlightRequests--
	b.owner.finish(p, err)
}
