package batcher

import (
	"context"
	"sync"
	"time"

	"paceline/batcher/prefix"
	"paceline/batcher/tune"
)

// Batcher batches items of type Q and returns results of type R. Its methods may be
// called from any goroutine. A Sender and a done function may call all but Drain and
// Close, which wait for every Send to return.
type Batcher[Q, R any] struct {
	sender  Sender[Q, R]
	running sync.WaitGroup // goroutines that send

	// mu guards all fields below, and the pending items and batches. unlock releases
	// it. No code of other packages' types runs while it is held.
	mu               sync.Mutex
	settings         Settings
	server           Server
	queue            queue[Q, R]
	callers          callers
	model            *prefix.Model
	passing          admissions
	breaker          breaker
	meter            tune.Meter
	inFlight         map[*Batch[Q, R]]struct{}
	uncachedInFlight float64          // tokens that they are expected to cost
	ended            []*pending[Q, R] // unlock calls their done
	stats            Stats            // counters; Stats() fills in the rest
	batches          uint64           // released so far
	ordered          int              // prompts released since the last that went in order of arrival
	reserved         int64            // bytes of Reserve
	draining         bool
	closed           bool
	settled          chan struct{} // closed at the end of a drain; nil if none is under way
	timer            *time.Timer   // runs wake at wakeAt
	wakeAt           time.Time
	view             []laneView // reused by look
}

// New returns a batcher that sends through sender. The error is a *SettingError.
func New[Q, R any](sender Sender[Q, R], s Settings) (*Batcher[Q, R], error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	b := &Batcher[Q, R]{
		sender: sender, settings: s, callers: callers{byName: make(map[string]*caller)}, breaker: breaker{retries: maxSaved},
		model: prefix.NewModel(s.PrefixBlocks), inFlight: make(map[*Batch[Q, R]]struct{}),
	}
	b.queue = newQueue[Q, R](b.model)
	b.passing = admissions{waiting: b.model.NewGroup(), all: make(map[*admission]struct{})}
	b.timer = time.AfterFunc(time.Hour, b.wake)
	b.timer.Stop() // nothing is due yet
	return b, nil
}

// Submit queues an item and waits for its result. A *FullError, *PausedError,
// *LateError, ErrDraining or ErrClosed refuses the item at once. Other errors are the
// Sender's, or that of ctx. If ctx ends while the item waits, the item leaves the queue
// and is never sent. So does an item that can no longer be answered before its deadline
// (*LateError).
func (b *Batcher[Q, R]) Submit(ctx context.Context, item Item[Q]) (R, Receipt, error) {
	p := &pending[Q, R]{Item: item, ctx: ctx}
	ended := make(chan struct{})
	p.done = func() { close(ended) }
	if err := b.admit(p); err != nil {
		return p.result, p.receipt, err
	}
	select {
	case <-ended:
	case <-ctx.Done():
		b.abandon(p)
		<-ended
	}
	return p.result, p.receipt, p.err
}

// SubmitFunc queues an item as Submit does but does not wait, and keeps no goroutine for
// the item. Unless SubmitFunc returns an error, done is called exactly once, with what
// Submit would return. done runs on the goroutine that ended the item, after the
// batcher's lock is released. It may call the batcher, except Drain and Close. It must
// not block, because other items may wait for the same goroutine.
func (b *Batcher[Q, R]) SubmitFunc(ctx context.Context, item Item[Q], done func(R, Receipt, error)) error {
	p := &pending[Q, R]{Item: item, ctx: ctx}
	unwatch := context.AfterFunc(ctx, func() { b.abandon(p) })
	p.done = func() {
		unwatch()
		done(p.result, p.receipt, p.err)
	}
	if err := b.admit(p); err != nil {
		unwatch()
		return err
	}
	if ctx.Err() != nil {
		b.abandon(p) // ctx may have ended before the item was queued
	}
	return nil
}

// unlock releases mu and then calls done for the items that ended while it was held.
func (b *Batcher[Q, R]) unlock() {
	ended := b.ended
	b.ended = nil
	b.mu.Unlock()
	for _, p := range ended {
		p.done()
	}
}

// finish ends an item that no prompt or batch holds any more. unlock calls its done. It
// requires mu.
func (b *Batcher[Q, R]) finish(p *pending[Q, R], err error) {
	p.prompt, p.batch, p.err = nil, nil, err
	b.callers.leave(p.caller)
	b.ended = append(b.ended, p)
}

// fail ends a waiting item with an error. Its duplicates stay. It requires mu.
func (b *Batcher[Q, R]) fail(p *pending[Q, R], err error) {
	b.queue.leave(p)
	b.finish(p, err)
}

// admit puts an item into the queue and releases the batches that are due, or refuses it.
func (b *Batcher[Q, R]) admit(p *pending[Q, R]) error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	p.deadline, _ = p.ctx.Deadline()
	b.mu.Lock()
	defer b.unlock()
	p.accepted = time.Now()
	if b.settings.Share == ShareOff {
		p.Prefix = nil
	}
	err := b.refusal(1, int64(p.Bytes))
	switch {
	case err != nil:
	case b.breaker.open(p.accepted):
		err = &PausedError{b.breaker.openUntil.Sub(p.accepted)}
	case !p.deadline.IsZero():
		err = b.late(p, p.accepted)
	}
	if err != nil {
		b.stats.Refused++
		return err
	}
	b.model.SetTime(p.accepted)
	b.stats.Accepted++
	if len(p.Prefix) > 0 {
		p.fresh = b.uncached(p)
	}
	p.caller = b.callers.join(p.Caller, p.Weight)
	if b.queue.push(p, b.settings.MergeIdentical) {
		b.release(p.accepted)
	}
	return nil
}

// refusal returns why n items of so many bytes can't be accepted now, or nil. It requires
// mu.
func (b *Batcher[Q, R]) refusal(n int, bytes int64) error {
	switch {
	case b.closed:
		return ErrClosed
	case b.draining:
		return ErrDraining
	case b.queue.count+len(b.passing.all)+n > b.settings.QueueRequests:
		return &FullError{"queue_requests", int64(b.settings.QueueRequests)}
	case b.queue.bytes+b.reserved+bytes > b.settings.QueueBytes:
		return &FullError{"queue_bytes", b.settings.QueueBytes}
	}
	return nil
}

// Room returns nil if the queue has room for n items of so many bytes together, and else the
// error that Submit would return. It reserves nothing: another may take the room.
func (b *Batcher[Q, R]) Room(n int, bytes int64) error {
	b.mu.Lock()
	defer b.unlock()
	return b.refusal(n, bytes)
}

// Reserve counts bytes against QueueBytes that a request takes outside the queue: while it is
// being read, or its caller sends it. A negative number undoes it. An eighth is left to
// Submit, so that what arrives slowly keeps out no prompt that has arrived. The error is a
// *FullError if the rest is exceeded; the bytes are counted all the same.
func (b *Batcher[Q, R]) Reserve(bytes int64) error {
	b.mu.Lock()
	defer b.unlock()
	b.reserved += bytes
	if b.queue.bytes+b.reserved > b.settings.QueueBytes-b.settings.QueueBytes/8 {
		return &FullError{"queue_bytes", b.settings.QueueBytes}
	}
	return nil
}

// late returns a *LateError if an item would miss its deadline, which it has, even in a
// batch of its own; else nil. It requires mu.
func (b *Batcher[Q, R]) late(p *pending[Q, R], now time.Time) error {
	cost := b.meter.Cost
	if !cost.Ready() {
		return nil
	}
	left := p.deadline.Sub(now)
	needs := cost.AtLeast(cost.Predict(1, b.uncached(p)))
	if left < needs {
		return &LateError{left, needs}
	}
	return nil
}

// uncached returns how many tokens of an item the server is expected to compute. It
// requires mu.
func (b *Batcher[Q, R]) uncached(p *pending[Q, R]) float64 {
	tokens := float64(p.Tokens)
	if len(p.Prefix) == 0 || p.Bytes == 0 {
		return tokens * b.meter.UncachedShare()
	}
	return tokens * (1 - float64(b.model.Known(p.Prefix, false)*prefix.BlockBytes)/float64(p.Bytes))
}

// abandon ends an item whose context has ended, unless it has already ended. If it is in
// flight its batch goes on for the other members, and is cancelled when no caller is
// left.
func (b *Batcher[Q, R]) abandon(p *pending[Q, R]) {
	err := p.ctx.Err()
	b.mu.Lock()
	defer b.unlock()
	switch {
	case p.prompt != nil:
		b.fail(p, err)
		b.settle()
	case p.batch != nil:
		p.batch.abandon(p, err)
	default:
		return
	}
	b.stats.Cancelled++
}

// Server describes the server that batches are sent to. 0 means unknown.
type Server struct {
	CacheTokens   int // capacity of its prefix cache, tokens
	ForwardTokens int // max tokens in one forward
}

// SetServer sets the description of the server. Call Forget too if it may be another
// server, or if it restarted.
func (b *Batcher[Q, R]) SetServer(s Server) {
	b.mu.Lock()
	defer b.unlock()
	b.server = s
	b.limitModel()
}

// limitModel bounds the prefix cache model by the setting and by the capacity of the
// server's cache. It requires mu.
func (b *Batcher[Q, R]) limitModel() {
	limit := b.settings.PrefixBlocks
	if b.server.CacheTokens > 0 {
		limit = min(limit, max(1, b.server.CacheTokens/prefix.BlockTokens))
	}
	b.model.SetLimit(limit)
}

// Forget empties the model of the server's prefix cache, after a flush or a restart.
func (b *Batcher[Q, R]) Forget() {
	b.mu.Lock()
	defer b.unlock()
	b.model.Forget()
}

// Settings returns the settings in force.
func (b *Batcher[Q, R]) Settings() Settings {
	b.mu.Lock()
	defer b.unlock()
	return b.settings
}

// SetSettings changes the settings, also for items that wait already. The error is a
// *SettingError, and then nothing has changed. A smaller bound of the queue refuses new
// items and drops none.
func (b *Batcher[Q, R]) SetSettings(s Settings) error {
	if err := s.Validate(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.unlock()
	b.settings = s
	b.limitModel()
	if s.Share == ShareOff {
		b.model.Forget()
	}
	b.release(time.Now())
	return nil
}

// Pending returns the number of accepted items that have not ended.
func (b *Batcher[Q, R]) Pending() int {
	b.mu.Lock()
	defer b.unlock()
	return b.queue.count + b.stats.InFlightRequests
}

// Stats returns a consistent snapshot of the counters.
func (b *Batcher[Q, R]) Stats() Stats {
	b.mu.Lock()
	defer b.unlock()
	s := b.stats
	s.Queued, s.QueuedBytes, s.ReservedBytes = b.queue.count, b.queue.bytes, b.reserved
	for _, l := range b.queue.lanes {
		s.Held += l.prompts.Len() - l.open()
	}
	s.Passing = b.passing.stats
	s.Passing.Waiting = len(b.passing.all)
	s.InFlight = len(b.inFlight)
	s.Callers = len(b.callers.byName)
	s.CachedBlocks = b.model.Cached()
	s.Cost = b.meter.Cost
	s.BreakerOpen = b.breaker.open(time.Now())
	return s
}
