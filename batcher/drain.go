package batcher

import (
	"context"
	"time"
)

// Drain refuses new requests with ErrDraining, releases what is waiting without
// further delay (still at most MaxInFlight batches at once), and returns nil
// when every accepted request has ended and every dispatch has returned. If ctx
// ends first it returns ctx's error and the batcher goes on draining; if Resume
// undoes the drain it returns ErrResumed. It may be called again.
func (b *Batcher[Q, R]) Drain(ctx context.Context) error { return b.BeginDrain()(ctx) }

// BeginDrain is Drain in two steps: it refuses new requests from now on, and
// what it returns waits for the end.
func (b *Batcher[Q, R]) BeginDrain() (wait func(context.Context) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.draining = true
	if b.settled == nil {
		b.settled = make(chan struct{})
	}
	settled := b.settled
	b.release(time.Now())
	b.settle()
	return func(ctx context.Context) error {
		select {
		case <-settled:
		case <-ctx.Done():
			return ctx.Err()
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if !b.draining {
			return ErrResumed
		}
		return nil
	}
}

// Resume undoes Drain: new requests are accepted again.
func (b *Batcher[Q, R]) Resume() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.draining = false
	b.endDrain()
}

// Close refuses new requests and ends all others with ErrClosed: waiting ones at
// once, those in flight when their Dispatch returns, whose context it cancels. It
// returns when every dispatch has returned. It may be called again.
func (b *Batcher[Q, R]) Close() {
	b.mu.Lock()
	b.closed = true
	b.expel(ErrClosed)
	if b.timer != nil {
		b.timer.Stop()
	}
	for batch := b.inFlight; batch != nil; batch = batch.next {
		batch.cancel()
	}
	b.settle()
	b.mu.Unlock()
	b.running.Wait()
}

// Expel ends every waiting request with err; those in flight stay. It is for a
// server that went away while another can take what waits.
func (b *Batcher[Q, R]) Expel(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expel(err)
	b.settle()
}

// expel requires mu.
func (b *Batcher[Q, R]) expel(err error) {
	for b.queue.count > 0 {
		w := b.queue.lanes[0].first
		b.queue.leave(w)
		e := w.entry.(*entry[Q, R])
		e.err = err
		b.stats.Failed++
		e.end()
	}
}

// settle ends a drain that has nothing left to wait for. It requires mu.
func (b *Batcher[Q, R]) settle() {
	if b.queue.count == 0 && b.stats.InFlight == 0 {
		b.endDrain()
	}
}

// endDrain lets the callers of Drain return. It requires mu.
func (b *Batcher[Q, R]) endDrain() {
	if b.settled != nil {
		close(b.settled)
		b.settled = nil
	}
}
