package batcher

import (
	"context"
	"sync"
	"time"

	"paceline/batcher/prefix"
	"paceline/batcher/tune"
)

// Batcher batches items of type Q to results of type R. Its methods may be called
// from any goroutine, and from a Sender or a done function too, except those that
// wait for every Send to return: Drain and Close.
type Batcher[Q, R any] struct {
	sender  Sender[Q, R]
	running sync.WaitGroup // goroutines that send

	// mu guards all below, and the pending items and batches. It is released by
	// unlock. No code of others runs while it is held.
	mu       sync.Mutex
	settings Settings
	server   Server
	queue    queue[Q, R]
	callers  callers
	model    *prefix.Model
	breaker  breaker
	meter    tune.Meter
	auto     tune.Auto
	inFlight map[*Batch[Q, R]]struct{}
	ended    []*pending[Q, R] // whose done unlock calls
	stats    Stats            // Stats fills in what changes all the time
	batches  uint64           // released so far
	ordered  int              // prompts released since some went in order of arrival only
	draining bool
	closed   bool
	settled  chan struct{} // closed when a drain has nothing left, or is undone; nil without one
	timer    *time.Timer   // runs wake at wakeAt
	wakeAt   time.Time
	view     []laneView // reused by look
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
	b.timer = time.AfterFunc(time.Hour, b.wake)
	b.timer.Stop() // nothing is due yet
	return b, nil
}

// Submit queues an item and waits for its end: the result, the error that the
// Sender gave it, or ctx's error once ctx ends, whether it waits or is in flight.
// A *FullError, *PausedError, *LateError, ErrDraining or ErrClosed refuses it at
// once. An item whose ctx ends while it waits leaves the queue and is never sent,
// as does one that can't be answered before its deadline any more (*LateError).
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

// SubmitFunc queues an item as Submit does, and does not wait: no goroutine is
// kept for it. done is called exactly once, with what Submit would return, unless
// SubmitFunc returns a refusal. done runs on the goroutine that ended the item,
// after the batcher's lock is released. It may call the batcher, except Drain and
// Close; it must not block, for others may wait for the same goroutine.
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
		b.abandon(p) // ctx may have ended before there was anything to abandon
	}
	return nil
}

// unlock releases mu and then tells the callers of the items that ended under it.
func (b *Batcher[Q, R]) unlock() {
	ended := b.ended
	b.ended = nil
	b.mu.Unlock()
	for _, p := range ended {
		p.done()
	}
}

// finish ends an item that nothing refers to any more; unlock tells its caller. It
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

// admit takes an item into the queue and releases what is due, or refuses it.
func (b *Batcher[Q, R]) admit(p *pending[Q, R]) error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	p.deadline, _ = p.ctx.Deadline()
	b.mu.Lock()
	defer b.unlock()
	p.accepted = time.Now()
	if !b.settings.PrefixOrder {
		p.Prefix = nil
	}
	if err := b.refusal(p); err != nil {
		b.stats.Refused++
		return err
	}
	b.stats.Accepted++
	p.caller = b.callers.come(p.Caller, p.Weight)
	if b.queue.push(p, b.settings.MergeIdentical) {
		b.release(p.accepted)
	}
	return nil
}

// refusal returns why an item can't be accepted now, or nil. It requires mu.
func (b *Batcher[Q, R]) refusal(p *pending[Q, R]) error {
	switch {
	case b.closed:
		return ErrClosed
	case b.draining:
		return ErrDraining
	case b.queue.count >= b.settings.QueueRequests:
		return &FullError{"queue_requests", int64(b.settings.QueueRequests)}
	case b.queue.bytes+int64(p.Bytes) > b.settings.QueueBytes:
		return &FullError{"queue_bytes", b.settings.QueueBytes}
	case b.breaker.open(p.accepted):
		return &PausedError{b.breaker.openUntil.Sub(p.accepted)}
	}
	return b.late(p, p.accepted)
}

// late returns a *LateError if even a batch of its own would come too late for an
// item, or nil. It requires mu.
func (b *Batcher[Q, R]) late(p *pending[Q, R], now time.Time) error {
	cost := b.meter.Cost
	if p.deadline.IsZero() || !cost.Ready() {
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
	return tokens * (1 - float64(b.model.Known(p.Prefix)*prefix.BlockBytes)/float64(p.Bytes))
}

// abandon ends an item whose context has ended, unless another end came first. The
// batch of an item in flight goes on for its neighbours, and is cancelled when no
// caller is left.
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

// Server is what is known of the server that batches are sent to; 0: unknown.
type Server struct {
	CacheTokens   int // tokens that its prefix cache holds
	ForwardTokens int // max tokens in one forward
}

// SetServer tells what the server is. If it may be another one than before, or
// has been restarted, call Forget too.
func (b *Batcher[Q, R]) SetServer(s Server) {
	b.mu.Lock()
	defer b.unlock()
	b.server = s
	b.limitModel()
}

// limitModel bounds what is believed cached by the setting and by what the server
// can hold. It requires mu.
func (b *Batcher[Q, R]) limitModel() {
	limit := b.settings.PrefixBlocks
	if b.server.CacheTokens > 0 {
		limit = min(limit, max(1, b.server.CacheTokens/prefix.BlockTokens))
	}
	b.model.SetLimit(limit)
}

// Forget drops what is believed to be in the server's prefix cache: it was
// flushed, or the server restarted.
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

// SetSettings puts new settings in force, for items already waiting too. The error
// is a *SettingError, and then nothing has changed. A smaller queue bound refuses
// newcomers and drops nobody.
func (b *Batcher[Q, R]) SetSettings(s Settings) error {
	if err := s.Validate(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.unlock()
	b.settings = s
	b.limitModel()
	if !s.PrefixOrder {
		b.model.Forget()
	}
	b.release(time.Now())
	return nil
}

// Pending returns the number of items that are accepted and have not ended.
func (b *Batcher[Q, R]) Pending() int {
	b.mu.Lock()
	defer b.unlock()
	return b.queue.count + b.stats.InFlightRequests
}

// Stats returns a consistent snapshot.
func (b *Batcher[Q, R]) Stats() Stats {
	b.mu.Lock()
	defer b.unlock()
	s := b.stats
	s.Queued, s.QueuedBytes = b.queue.count, b.queue.bytes
	for _, l := range b.queue.lanes {
		s.Held += l.prompts.Len() - l.open()
	}
	s.InFlight = len(b.inFlight)
	s.Callers = len(b.callers.byName)
	s.CachedBlocks = b.model.Cached()
	s.Cost = b.meter.Cost
	s.BreakerOpen = b.breaker.open(time.Now())
	if b.settings.Mode == ModeAuto {
		s.Plan = b.auto.Plan(s.Cost, b.forwardsBudget())
	}
	return s
}
