package batcher

import (
	"context"
	"math/rand/v2"
	"time"
)

// Dispatch sends a batch upstream. It runs on a goroutine that is no caller's,
// ends each member once with Answer or Fail, from any goroutine, and then returns;
// members that have not ended by then fail with the error it returns
// (ErrUnanswered for nil). ctx ends when the callers of all members have gone, and at Close: never
// while one caller still waits.
type Dispatch[Q, R any] func(ctx context.Context, b *Batch[Q, R]) error

// Usage is what the server says that a prompt came to. The zero value says
// nothing.
type Usage struct {
	PromptTokens int
	CachedTokens int // of these, from its prefix cache
}

// Batch is a released batch in the hands of Dispatch. Its methods may be called
// from several goroutines.
type Batch[Q, R any] struct {
	owner    *Batcher[Q, R]
	id       uint64
	reason   Reason
	released time.Time
	cost     time.Duration // predicted: how long it occupies the server
	expected time.Duration // predicted: until its answers
	ctx      context.Context
	cancel   context.CancelFunc
	members  []member[Q, R]
	single   [1]member[Q, R] // members of a batch that can have only one
	limit    int             // prompts that it could have had
	merged   int             // requests that needed no prompt of their own
	live     int             // members whose caller still waits; guarded by owner.mu, as all below

	prev, next *Batch[Q, R] // in flight

	gone      func(i int) // see WhenGone
	attached  any
	answered  int // members with a usage
	used      account
	disturbed bool // a call of it failed
}

// member is one prompt of a batch: one request, or several that ask for the same.
type member[Q, R any] struct {
	value Q
	ctx   context.Context
	left  context.CancelFunc // ends ctx; nil where ctx is the only caller's own
	entry *entry[Q, R]       // nil once ended; guarded by owner.mu, as all below

	caller   *caller  // to whom it is charged
	last     *segment // of its prefix; nil where it has none, or once it has ended
	bytes    int
	known    int     // blocks that were believed cached,
	answers  uint64  // after so many answers
	claims   bool    // others wait for the block after them
	uncached float64 // tokens that it was expected to cost
	reserved int     // blocks set aside for it
}

// board puts the request of member i, with its twins, into the batch. It
// requires owner.mu.
func (b *Batch[Q, R]) board(i int, now time.Time) {
	m := &b.members[i]
	m.ctx = m.entry.ctx
	merged := 0
	if m.entry.twins != nil {
		m.ctx, m.left = context.WithCancel(context.WithoutCancel(m.ctx))
		for t := m.entry.twins; t != nil; t = t.prev {
			merged++
		}
	}
	for w := &m.entry.waiter; w != nil; {
		e := w.entry.(*entry[Q, R])
		e.batch = b
		e.receipt = Receipt{b.id, len(b.members), i, b.reason, now.Sub(e.accepted), merged, b.expected, int(m.uncached), nil}
		b.live++
		if w.first == nil {
			w = w.twins
		} else {
			w = w.prev
		}
	}
}

// ID numbers the batches of one Batcher from 1.
func (b *Batch[Q, R]) ID() uint64 { return b.id }

// Reason is why the batch was released.
func (b *Batch[Q, R]) Reason() Reason { return b.reason }

// Released is when the batch was released.
func (b *Batch[Q, R]) Released() time.Time { return b.released }

// Predicted is how long from the release its answers were expected to take; 0
// while too little was learned.
func (b *Batch[Q, R]) Predicted() time.Duration { return b.expected }

// Len is the number of members at release; members that end stay counted.
// Requests that ask for the same are one member.
func (b *Batch[Q, R]) Len() int { return len(b.members) }

// Limit is the batch size in force at the release: how many members it could have
// had. It is 1 in ModeUnbatched.
func (b *Batch[Q, R]) Limit() int { return b.limit }

// Merged is how many requests of the batch needed no prompt of their own, because
// another asks for the same.
func (b *Batch[Q, R]) Merged() int { return b.merged }

// Value returns what member i submitted.
func (b *Batch[Q, R]) Value(i int) Q { return b.members[i].value }

// Context returns the context of member i's caller: it is done when that caller,
// or the last of several, has gone. It carries the (first) caller's values, such
// as its trace.
func (b *Batch[Q, R]) Context(i int) context.Context { return b.members[i].ctx }

// Requests returns the contexts of all requests of member i that have not ended: its
// own and those that ask for the same.
func (b *Batch[Q, R]) Requests(i int) []context.Context {
	b.owner.mu.Lock()
	defer b.owner.mu.Unlock()
	e := b.members[i].entry
	if e == nil {
		return nil
	}
	all := []context.Context{e.ctx}
	for t := e.twins; t != nil; t = t.prev {
		all = append(all, t.entry.(*entry[Q, R]).ctx)
	}
	return all
}

// Attach puts something of Dispatch's on the receipts of the requests that end after
// it, such as a trace.
func (b *Batch[Q, R]) Attach(v any) {
	b.owner.mu.Lock()
	defer b.owner.mu.Unlock()
	b.attached = v
}

// WhenGone has gone called with each member whose caller, or the last of several, goes
// from now on before the member has ended: what is done for it may stop. It is called
// under the batcher's lock: it must neither block nor call the batcher.
func (b *Batch[Q, R]) WhenGone(gone func(i int)) {
	b.owner.mu.Lock()
	defer b.owner.mu.Unlock()
	b.gone = gone
}

// Answer ends member i with a result, and learns from its usage. It does nothing
// if the member has ended.
func (b *Batch[Q, R]) Answer(i int, result R, u Usage) {
	o := b.owner
	o.mu.Lock()
	defer o.mu.Unlock()
	freed := b.learn(i, u)
	for e := b.take(i); e != nil; e = b.take(i) {
		e.result = result
		o.stats.Answered++
		e.end()
	}
	if freed {
		o.release(time.Now())
	}
}

// Fail ends member i with an error. It does nothing if the member has ended.
func (b *Batch[Q, R]) Fail(i int, err error) {
	o := b.owner
	o.mu.Lock()
	defer o.mu.Unlock()
	if b.fail(i, err) {
		o.release(time.Now())
	}
}

// fail reports whether requests that waited for this one can go now. It requires
// owner.mu.
func (b *Batch[Q, R]) fail(i int, err error) (freed bool) {
	freed = b.unclaim(i)
	for e := b.take(i); e != nil; e = b.take(i) {
		e.err = err
		b.owner.stats.Failed++
		e.end()
	}
	return freed
}

// Succeeded notes a call that the server answered, be it with a refusal.
func (b *Batch[Q, R]) Succeeded() {
	b.owner.mu.Lock()
	defer b.owner.mu.Unlock()
	open := !b.owner.breaker.openUntil.IsZero()
	b.owner.breaker.succeeded()
	if open {
		b.owner.release(time.Now())
	}
}

// Split notes that the batch is sent again in parts, because one of its members
// is bad.
func (b *Batch[Q, R]) Split() {
	b.owner.mu.Lock()
	defer b.owner.mu.Unlock()
	b.owner.stats.Splits++
	b.disturbed = true
}

// Retry notes that the server failed a call of this batch, the attempt-th from
// 1, and says whether to repeat it, after a pause: not when Settings.Retries or
// the budget of repeats is used up, the breaker is open, or ctx ends.
func (b *Batch[Q, R]) Retry(ctx context.Context, attempt int) bool {
	pause, ok := b.owner.mayRetry(b, attempt)
	if !ok {
		return false
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (b *Batcher[Q, R]) mayRetry(batch *Batch[Q, R], attempt int) (time.Duration, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	batch.disturbed = true
	b.breaker.failed(b.settings.BreakerFailures, now)
	if attempt > b.settings.Retries || b.breaker.open(now) || !b.breaker.retry() {
		return 0, false
	}
	b.stats.Retries++
	return backoff(attempt, rand.Float64()), true
}

// learn takes what the server said of member i, if it has not ended before. It
// requires owner.mu.
func (b *Batch[Q, R]) learn(i int, u Usage) (freed bool) {
	m := &b.members[i]
	if u.PromptTokens > 0 && m.caller != nil {
		uncached := float64(u.PromptTokens - u.CachedTokens)
		b.owner.queue.callers.serve(m.caller, uncached-m.uncached)
		b.answered++
		b.used.uncached += uncached
		b.used.tokens += float64(u.PromptTokens)
		m.caller = nil
		if m.last != nil {
			// A block more or less is no contradiction: text has no fixed number of
			// tokens in a block, and the last token is always computed.
			cached := 0
			if u.CachedTokens > 0 {
				cached = 1 + int(float64(u.CachedTokens)/float64(u.PromptTokens)*float64(m.bytes)/BlockBytes)
			}
			b.owner.queue.belief.learn(m.last, m.known, m.answers, min(cached, m.last.end()))
		}
	}
	return b.unclaim(i)
}

// unclaim lets those go that waited for member i. It requires owner.mu.
func (b *Batch[Q, R]) unclaim(i int) (freed bool) {
	m := &b.members[i]
	b.owner.queue.belief.reserved -= m.reserved
	m.reserved = 0
	if m.claims {
		freed = b.owner.queue.belief.end(m.last.at(m.known))
		m.claims = false
	}
	b.owner.queue.belief.land(m.last)
	m.last = nil
	return freed
}

// account is what the batch came to. It requires owner.mu.
func (b *Batch[Q, R]) account() account {
	a := b.used
	a.batches, a.prompts, a.predicted, a.released = 1, len(b.members), b.cost, b.released
	a.clean = !b.disturbed && b.answered == len(b.members)
	return a
}

// take parts one request of member i from the batch, or returns nil if all of
// them have ended. It requires owner.mu.
func (b *Batch[Q, R]) take(i int) *entry[Q, R] {
	e := b.members[i].entry
	if e == nil {
		return nil
	}
	if e.twins != nil {
		e = e.twins.entry.(*entry[Q, R])
	}
	b.part(i, e)
	return e
}

// part parts the request e of member i from the batch. The place of a first is
// taken by its oldest twin. It requires owner.mu.
func (b *Batch[Q, R]) part(i int, e *entry[Q, R]) {
	m := &b.members[i]
	switch {
	case e.first != nil:
		e.first.unhang(&e.waiter)
	case e.twins != nil:
		m.entry = e.succeed().entry.(*entry[Q, R])
	default:
		m.entry = nil
		if m.left != nil {
			m.left()
		}
	}
	e.batch = nil
	e.receipt.Attached = b.attached
	b.live--
	b.owner.stats.InFlightRequests--
	b.owner.queue.callers.leave(e.caller)
}
