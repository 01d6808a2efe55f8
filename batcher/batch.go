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

type member[Q, R any] struct {
	value Q
	ctx   context.Context
	entry *entry[Q, R] // nil once ended; guarded by owner.mu
}

// ID numbers the batches of one Batcher from 1.
func (b *Batch[Q, R]) ID() uint64 { return b.id }

// Reason is why the batch was released.
func (b *Batch[Q, R]) Reason() Reason { return b.reason }

// Len is the number of members at release; members that end stay counted.
func (b *Batch[Q, R]) Len() int { return len(b.members) }

// Value returns what member i submitted.
func (b *Batch[Q, R]) Value(i int) Q { return b.members[i].value }

// Context returns the context of member i's caller: it is done when that caller
// has gone. It carries the caller's values, such as its trace.
func (b *Batch[Q, R]) Context(i int) context.Context { return b.members[i].ctx }

// Answer ends member i with a result. It does nothing if the member has ended.
func (b *Batch[Q, R]) Answer(i int, result R) {
	b.owner.mu.Lock()
	defer b.owner.mu.Unlock()
	if e := b.take(i); e != nil {
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
	if e := b.take(i); e != nil {
		e.err = err
		b.owner.stats.Failed++
		e.ended <- struct{}{}
	}
}

// take parts member i's entry from the batch, or returns nil if it has ended.
// It requires owner.mu.
func (b *Batch[Q, R]) take(i int) *entry[Q, R] {
	e := b.members[i].entry
	if e == nil {
		return nil
	}
	b.members[i].entry = nil
	e.batch = nil
	b.live--
	b.owner.stats.InFlightRequests--
	return e
}
