package batcher

import (
	"context"
	"time"
)

// Drain refuses new items with ErrDraining and releases the waiting items without delay,
// still at most MaxInFlight batches at once. It returns nil when every accepted item has
// ended and every Send has returned. If ctx ends first, Drain returns its error and the
// batcher goes on draining. If Resume undoes the drain, Drain returns ErrResumed. It may
// be called again.
func (b *Batcher[Q, R]) Drain(ctx context.Context) error { return b.BeginDrain()(ctx) }

// BeginDrain is Drain in two steps: it refuses new items from now on and returns a
// function that waits for the end.
func (b *Batcher[Q, R]) BeginDrain() (wait func(context.Context) error) {
	b.mu.Lock()
	defer b.unlock()
	b.draining = true
	if b.settled == nil {
		b.settled = make(chan struct{})
	}
	settled := b.settled
	b.release(time.Now())
	return func(ctx context.Context) error {
		select {
		case <-settled:
		case <-ctx.Done():
			return ctx.Err()
		}
		b.mu.Lock()
		defer b.unlock()
		if !b.draining {
			return ErrResumed
		}
		return nil
	}
}

// Resume undoes Drain: new items are accepted again.
func (b *Batcher[Q, R]) Resume() {
	b.mu.Lock()
	defer b.unlock()
	b.draining = false
	if b.settled != nil {
		b.finishDrain()
	}
}

// Close refuses new items and ends all others with ErrClosed: those that wait at once,
// those in flight when their Send returns. It cancels the context of every Send and
// returns when all have returned. It may be called again.
func (b *Batcher[Q, R]) Close() {
	b.mu.Lock()
	b.closed = true
	for b.queue.count > 0 {
		b.fail(b.queue.lanes[0].prompts.Front().Value.(*prompt[Q, R]).items[0], ErrClosed)
		b.stats.Failed++
	}
	b.closeWaiting()
	b.timer.Stop()
	for batch := range b.inFlight {
		batch.cancel()
	}
	b.settle()
	b.unlock()
	b.running.Wait()
}

// finishDrain lets the callers of Drain return. It requires mu.
func (b *Batcher[Q, R]) finishDrain() {
	close(b.settled)
	b.settled = nil
}
