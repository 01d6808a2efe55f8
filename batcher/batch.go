package batcher

import (
	"context"
	"time"
)

// Dispatch sends a batch upstream. It runs on a goroutine of its own, ends each
// member once with Answer or Fail, from any goroutine, and then returns; members
// that have not ended by then fail with the error it returns (ErrUnanswered for
// nil). ctx ends when the callers of all members have gone, and at Close: never
// while one caller still waits.
type Dispatch[Q, R any] func(ctx context.Context, b *Batch[Q, R]) error

// Batch is a released batch in the hands of Dispatch. Its methods may be called
// from several goroutines.
type Batch[Q, R any] struct {
	owner    *Batcher[Q, R]
	id       uint64
	reason   Reason
	released time.Time
	ctx      context.Context
	cancel   context.CancelFunc
	members  []member[Q, R]
	live     int // members whose caller still waits; guarded by owner.mu
}

// member is one prompt of a batch: one request, or several that ask for the same.
type member[Q, R any] struct {
	value Q
	ctx   context.Context
	left  context.CancelFunc // ends ctx; nil where ctx is the only caller's own
	entry *entry[Q, R]       // nil once ended; guarded by owner.mu
}

// join makes e, with its twins, member i of n. It requires owner.mu.
func (b *Batch[Q, R]) join(i int, e *entry[Q, R], n int, now time.Time) {
	m := member[Q, R]{value: e.req.Value, ctx: e.ctx, entry: e}
	merged := 0
	if e.twins != nil {
		m.ctx, m.left = context.WithCancel(context.WithoutCancel(e.ctx))
		for t := e.twins; t != nil; t = t.prev {
			merged++
		}
	}
	board := func(e *entry[Q, R]) {
		e.batch = b
		e.receipt = Receipt{b.id, n, i, b.reason, now.Sub(e.accepted), merged}
		b.live++
	}
	board(e)
	for t := e.twins; t != nil; t = t.prev {
		board(t)
	}
	b.members[i] = m
}

// ID numbers the batches of one Batcher from 1.
func (b *Batch[Q, R]) ID() uint64 { return b.id }

// Reason is why the batch was released.
func (b *Batch[Q, R]) Reason() Reason { return b.reason }

// Len is the number of members at release; members that end stay counted.
// Requests that ask for the same are one member.
func (b *Batch[Q, R]) Len() int { return len(b.members) }

// Value returns what member i submitted.
func (b *Batch[Q, R]) Value(i int) Q { return b.members[i].value }

// Context returns the context of member i's caller: it is done when that caller,
// or the last of several, has gone. It carries the (first) caller's values, such
// as its trace.
func (b *Batch[Q, R]) Context(i int) context.Context { return b.members[i].ctx }

// Answer ends member i with a result. It does nothing if the member has ended.
func (b *Batch[Q, R]) Answer(i int, result R) {
	b.owner.mu.Lock()
	defer b.owner.mu.Unlock()
	for e := b.take(i); e != nil; e = b.take(i) {
		e.result = result
		b.owner.stats.Answered++
		e.ended <- struct{}{}
	}
}

// Fail ends member i with an error. It does nothing if the member has ended.
func (b *Batch[Q, R]) Fail(i int, err error) {
	b.owner.mu.Lock()
	defer b.owner.mu.Unlock()
	b.fail(i, err)
}

// fail requires owner.mu.
func (b *Batch[Q, R]) fail(i int, err error) {
	for e := b.take(i); e != nil; e = b.take(i) {
		e.err = err
		b.owner.stats.Failed++
		e.ended <- struct{}{}
	}
}

// take parts one request of member i from the batch, or returns nil if all of
// them have ended. It requires owner.mu.
func (b *Batch[Q, R]) take(i int) *entry[Q, R] {
	first := b.members[i].entry
	if first == nil {
		return nil
	}
	e := first
	if first.twins != nil {
		e = first.twins
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
		e.first.unhang(e)
	case e.twins != nil:
		heir := e.oldestTwin()
		e.unhang(heir)
		heir.twins, e.twins = e.twins, nil
		for t := heir.twins; t != nil; t = t.prev {
			t.first = heir
		}
		m.entry = heir
	default:
		m.entry = nil
		if m.left != nil {
			m.left()
		}
	}
	e.batch = nil
	b.live--
	b.owner.stats.InFlightRequests--
}
