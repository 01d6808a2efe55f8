package batcher

import (
	"context"
	"sync"
	"time"
)

// Request is one request to be batched.
type Request[Q any] struct {
	Value  Q      // handed to Dispatch as it is
	Bytes  int    // size of the prompt, counted against QueueBytes
	Tokens int    // prompt tokens, 0 where unknown
	Key    string // only requests of equal key share a batch

	// Same is equal for requests whose answer is the same: those that wait
	// together are sent as one prompt, and each caller gets the answer. Zero is
	// the same as no other.
	Same Identity
}

// Identity names what a request asks for, all options included: 128 bits that
// nobody outside can choose to collide.
type Identity [2]uint64

// Receipt tells how a request travelled. It is zero for a request that was
// never released.
type Receipt struct {
	BatchID   uint64        // see Batch.ID
	Size      int           // members of the batch when it was released
	Position  int           // place in it, from 0
	Reason    Reason        // why it was released
	QueueWait time.Duration // from being accepted to the release
	Merged    int           // other requests that the same prompt answered
}

// Batcher batches requests of type Q to results of type R. Its methods may be
// called from any goroutine.
type Batcher[Q, R any] struct {
	dispatch Dispatch[Q, R]
	ctx      context.Context // parent of every batch's context
	cancel   context.CancelFunc
	running  sync.WaitGroup // dispatch goroutines
	entries  sync.Pool      // *entry[Q, R]

	mu       sync.Mutex // guards all below, and the entries and batches
	settings Settings
	queue    queue[Q, R]
	stats    Stats // Queued and QueuedBytes are filled in by Stats
	batches  uint64
	draining bool
	closed   bool
	settled  chan struct{} // closed when a drain has nothing left, or is undone; nil without one
	timer    *time.Timer   // runs wake at wakeAt
	wakeAt   time.Time
	view     []laneView // reused by release
}

// New returns a batcher that sends its batches through dispatch. The error is a
// *SettingError.
func New[Q, R any](dispatch Dispatch[Q, R], s Settings) (*Batcher[Q, R], error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	b := &Batcher[Q, R]{dispatch: dispatch, settings: s}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.queue.byKey = make(map[string]*lane[Q, R])
	b.queue.same = make(map[Identity]*entry[Q, R])
	b.entries.New = func() any { return &entry[Q, R]{ended: make(chan struct{}, 1)} }
	return b, nil
}

// Submit queues a request and waits for its end: the result, the error that
// Dispatch failed it with, or ctx's error once ctx ends, whether it waits or is
// in flight. A *FullError, ErrDraining or ErrClosed refuses it at once. A
// request whose ctx ends while it waits leaves the queue and is never
// dispatched.
func (b *Batcher[Q, R]) Submit(ctx context.Context, req Request[Q]) (R, Receipt, error) {
	var none R
	if err := ctx.Err(); err != nil {
		return none, Receipt{}, err
	}
	e := b.entries.Get().(*entry[Q, R])
	e.ctx, e.req = ctx, req
	if err := b.admit(e); err != nil {
		b.recycle(e)
		return none, Receipt{}, err
	}
	select {
	case <-e.ended:
	case <-ctx.Done():
		if !b.abandon(e) {
			<-e.ended // its end came first
		}
	}
	result, receipt, err := e.result, e.receipt, e.err
	b.recycle(e)
	return result, receipt, err
}

// admit takes a request into the queue and releases what is due, or refuses it.
func (b *Batcher[Q, R]) admit(e *entry[Q, R]) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refusal(e.req); err != nil {
		b.stats.Refused++
		return err
	}
	b.stats.Accepted++
	e.accepted = time.Now()
	b.queue.push(e, b.settings.MergeIdentical)
	b.release(e.accepted)
	return nil
}

// refusal is why a request can't be accepted now, or nil. It requires mu.
func (b *Batcher[Q, R]) refusal(req Request[Q]) error {
	switch {
	case b.closed:
		return ErrClosed
	case b.draining:
		return ErrDraining
	case b.queue.count >= b.settings.QueueRequests:
		return &FullError{"queue_requests", int64(b.settings.QueueRequests)}
	case b.queue.bytes+int64(req.Bytes) > b.settings.QueueBytes:
		return &FullError{"queue_bytes", b.settings.QueueBytes}
	}
	return nil
}

// abandon ends a request whose context has ended, and reports whether it did:
// false means that another end came first. The batch of a request in flight
// goes on for its neighbours, and is cancelled when no caller is left.
func (b *Batcher[Q, R]) abandon(e *entry[Q, R]) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case e.lane != nil || e.first != nil && e.batch == nil:
		b.queue.leave(e)
		b.settle()
	case e.batch != nil:
		batch := e.batch
		batch.part(e.receipt.Position, e)
		if batch.live == 0 {
			batch.cancel()
		}
	default:
		return false
	}
	e.err = e.ctx.Err()
	b.stats.Cancelled++
	return true
}

func (b *Batcher[Q, R]) recycle(e *entry[Q, R]) {
	*e = entry[Q, R]{ended: e.ended}
	b.entries.Put(e)
}

// release asks the policy what is due, starts those batches, and sets the timer
// for what is due next. It requires mu.
func (b *Batcher[Q, R]) release(now time.Time) {
	for b.queue.count > 0 {
		b.view = b.view[:0]
		for _, l := range b.queue.lanes {
			b.view = append(b.view, laneView{count: l.count, tokens: l.tokens, bytes: l.bytes, oldest: l.first.since})
		}
		d := decide(b.view, b.settings, b.stats.InFlight, b.draining, now)
		if d.take == 0 {
			b.wakeUp(d.wake, now)
			return
		}
		l := b.queue.lanes[d.lane]
		n := withinBudget(l, d.take, b.settings)
		if n < d.take {
			d.reason = ReasonBudget
		}
		b.start(l, n, d.reason, now)
	}
}

// withinBudget is how many of the first n requests of a lane fit the budgets of
// one batch; a request above a budget alone goes alone.
func withinBudget[Q, R any](l *lane[Q, R], n int, s Settings) int {
	if s.BatchTokens == 0 && s.BatchBytes == 0 {
		return n
	}
	var tokens, bytes int64
	e := l.first
	for i := range n {
		tokens += int64(e.req.Tokens)
		bytes += int64(e.req.Bytes)
		over := s.BatchTokens > 0 && tokens > s.BatchTokens || s.BatchBytes > 0 && bytes > s.BatchBytes
		if over && i > 0 {
			return i
		}
		e = e.next
	}
	return n
}

// start takes n requests from the front of a lane and dispatches them as one
// batch. It requires mu.
func (b *Batcher[Q, R]) start(l *lane[Q, R], n int, reason Reason, now time.Time) {
	b.batches++
	batch := &Batch[Q, R]{owner: b, id: b.batches, reason: reason, released: now}
	batch.ctx, batch.cancel = context.WithCancel(b.ctx)
	batch.members = make([]member[Q, R], n)
	for i := range batch.members {
		e := l.first
		b.queue.remove(e)
		batch.join(i, e, n, now)
	}
	b.stats.InFlight++
	b.stats.InFlightRequests += batch.live
	b.stats.Releases[reason].Batches++
	b.stats.Releases[reason].Requests += uint64(batch.live)
	b.stats.Merged += uint64(batch.live - n)
	b.running.Go(func() { b.run(batch) })
}

// run dispatches a batch and, after it, releases what its slot makes due.
func (b *Batcher[Q, R]) run(batch *Batch[Q, R]) {
	err := b.dispatch(batch.ctx, batch)
	batch.cancel()
	if err == nil {
		err = ErrUnanswered
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		err = ErrClosed
	}
	for i := range batch.members {
		batch.fail(i, err)
	}
	b.stats.InFlight--
	b.release(time.Now())
	b.settle()
}

// wakeUp sets the timer for t; a zero t needs none. It requires mu.
func (b *Batcher[Q, R]) wakeUp(t, now time.Time) {
	if t.IsZero() || t.Equal(b.wakeAt) {
		return
	}
	b.wakeAt = t
	if b.timer == nil {
		b.timer = time.AfterFunc(t.Sub(now), b.wake)
		return
	}
	b.timer.Reset(t.Sub(now))
}

func (b *Batcher[Q, R]) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wakeAt = time.Time{}
	b.release(time.Now())
}

// Settings returns the settings in force.
func (b *Batcher[Q, R]) Settings() Settings {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.settings
}

// SetSettings puts new settings in force, for requests already waiting too. The
// error is a *SettingError, and then nothing has changed. A smaller queue bound
// refuses newcomers and drops nobody.
func (b *Batcher[Q, R]) SetSettings(s Settings) error {
	if err := s.Validate(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settings = s
	b.release(time.Now())
	return nil
}

// Stats returns a consistent snapshot.
func (b *Batcher[Q, R]) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.stats
	s.Queued, s.QueuedBytes = b.queue.count, b.queue.bytes
	return s
}
