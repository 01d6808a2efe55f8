package batcher

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"
)

// Request is one request to be batched.
type Request[Q any] struct {
	Value  Q      // handed to Dispatch as it is
	Bytes  int    // size of the prompt, counted against QueueBytes
	Tokens int    // prompt tokens, or an estimate; 0 where unknown
	Key    string // only requests of equal key share a batch

	// Priority orders the batches of different keys, higher first. Requests of
	// one key have one priority.
	Priority int

	// Caller names who asks: callers share SGLang in proportion to their Weight
	// (0 means 1), measured in tokens computed for them.
	Caller string
	Weight float64

	// Prefix names the beginnings of the prompt; nil where nothing is known.
	Prefix Prefix

	// Same is equal for requests whose answer is the same: those that wait
	// together are sent as one prompt, and each caller gets the answer. Zero is
	// the same as no other. See MergeIf.
	Same Identity
}

// Identity names what a request asks for, all options included: 128 bits that
// nobody outside can choose to collide.
type Identity [2]uint64

// MergeIf has requests of one Identity sent as one prompt only if alike says so of
// their values; then an Identity need not stand for all that alike looks at. It is to
// be called before the first Submit. alike is called under the batcher's lock: it must
// neither block nor call the batcher.
func (b *Batcher[Q, R]) MergeIf(alike func(x, y Q) bool) {
	b.queue.alike = func(x, y *waiter) bool {
		return alike(x.entry.(*entry[Q, R]).value, y.entry.(*entry[Q, R]).value)
	}
}

// Receipt tells how a request travelled. It is zero for a request that was
// never released.
type Receipt struct {
	BatchID   uint64        // see Batch.ID
	Size      int           // members of the batch when it was released
	Position  int           // place in it, from 0
	Reason    Reason        // why it was released
	QueueWait time.Duration // from being accepted to the release
	Merged    int           // other requests that the same prompt answered

	// What was expected at the release: the time until the answer, 0 while too
	// little was learned, and the tokens of this prompt that are not cached.
	Predicted         time.Duration
	PredictedUncached int

	Attached any // by Dispatch: see Batch.Attach
}

// Batcher batches requests of type Q to results of type R. Its methods may be
// called from any goroutine.
type Batcher[Q, R any] struct {
	dispatch Dispatch[Q, R]
	work     func()         // dispatchAll, made once
	running  sync.WaitGroup // dispatch goroutines
	entries  sync.Pool      // *entry[Q, R]

	mu       sync.Mutex // guards all below, and the entries and batches
	settings Settings
	server   Server
	queue    queue
	breaker  breaker
	inFlight *Batch[Q, R]   // the youngest
	released []*Batch[Q, R] // not dispatched yet: as many as goroutines are about to ask next for one
	free     bool           // one asks already
	meter    meter
	tuner    tuner
	stats    Stats // what changes all the time is filled in by Stats
	batches  uint64
	ordered  int // prompts released since some went in order of arrival only
	draining bool
	closed   bool
	settled  chan struct{} // closed when a drain has nothing left, or is undone; nil without one
	timer    *time.Timer   // runs wake at wakeAt
	wakeAt   time.Time
	view     []laneView // reused by release
	chosen   Settings   // likewise, in ModeAuto
}

// entry is one accepted request, from Submit to its end. It is reachable from
// exactly one place, the queue or a batch, and from none once it has ended; so
// it can be reused as soon as Submit returns. Guarded by Batcher.mu, except that
// the fields of the end belong to Submit once end has told it.
type entry[Q, R any] struct {
	waiter
	ctx   context.Context
	value Q
	batch *Batch[Q, R] // while in flight

	ended   chan struct{}           // one signal, buffered, when result or err is set
	done    func(R, Receipt, error) // called instead, if there is one
	unwatch func() bool             // no longer waits for ctx's end, likewise
	result  R
	err     error
	receipt Receipt
}

// New returns a batcher that sends its batches through dispatch. The error is a
// *SettingError.
func New[Q, R any](dispatch Dispatch[Q, R], s Settings) (*Batcher[Q, R], error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	b := &Batcher[Q, R]{dispatch: dispatch, settings: s, breaker: newBreaker(), queue: newQueue(s.PrefixBlocks)}
	b.work = b.dispatchAll
	b.entries.New = func() any {
		e := &entry[Q, R]{ended: make(chan struct{}, 1)}
		e.entry = e
		return e
	}
	return b, nil
}

// Submit queues a request and waits for its end: the result, the error that
// Dispatch failed it with, or ctx's error once ctx ends, whether it waits or is
// in flight. A *FullError, *PausedError, *LateError, ErrDraining or ErrClosed
// refuses it at once. A request whose ctx ends while it waits leaves the queue
// and is never dispatched, as does one that can't be answered before its
// deadline any more (*LateError).
func (b *Batcher[Q, R]) Submit(ctx context.Context, req Request[Q]) (R, Receipt, error) {
	var none R
	if err := ctx.Err(); err != nil {
		return none, Receipt{}, err
	}
	e := b.entries.Get().(*entry[Q, R])
	e.take(ctx, &req)
	if err := b.admit(e, &req); err != nil {
		b.recycle(e)
		return none, Receipt{}, err
	}
	select {
	case <-e.ended:
	case <-ctx.Done():
		b.abandon(e)
		<-e.ended
	}
	result, receipt, err := e.result, e.receipt, e.err
	b.recycle(e)
	return result, receipt, err
}

// SubmitFunc queues a request as Submit does, and does not wait: nothing but the
// request itself is kept for it, no goroutine. done is called once with what Submit
// would return, but for a refusal, which SubmitFunc returns. It is called under the
// batcher's lock: it must neither block nor call the batcher.
func (b *Batcher[Q, R]) SubmitFunc(ctx context.Context, req Request[Q], done func(R, Receipt, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e := &entry[Q, R]{done: done} // not of those that are reused: ctx may end late
	e.entry = e
	e.take(ctx, &req)
	e.unwatch = context.AfterFunc(ctx, func() { b.abandon(e) })
	if err := b.admit(e, &req); err != nil {
		e.unwatch()
		return err
	}
	if ctx.Err() != nil {
		b.abandon(e) // ctx may have ended before there was anything to abandon
	}
	return nil
}

// take takes what is submitted.
func (e *entry[Q, R]) take(ctx context.Context, req *Request[Q]) {
	e.ctx, e.value = ctx, req.Value
	e.bytes, e.tokens, e.same, e.prefix = req.Bytes, req.Tokens, req.Same, req.Prefix
	e.deadline, _ = ctx.Deadline()
}

// end tells who submitted the request that it has ended. It requires mu.
func (e *entry[Q, R]) end() {
	if e.done == nil {
		e.ended <- struct{}{}
		return
	}
	e.unwatch()
	e.done(e.result, e.receipt, e.err)
}

// admit takes a request into the queue and releases what is due, or refuses it.
func (b *Batcher[Q, R]) admit(e *entry[Q, R], req *Request[Q]) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.accepted = time.Now()
	if !b.settings.PrefixOrder {
		e.prefix = nil
	}
	if err := b.refusal(&e.waiter); err != nil {
		b.stats.Refused++
		return err
	}
	b.stats.Accepted++
	e.caller = b.queue.callers.come(req.Caller, req.Weight)
	b.queue.push(&e.waiter, req.Key, req.Priority, b.settings.MergeIdentical)
	if b.mayBeDue(&e.waiter) {
		b.release(e.accepted)
	}
	return nil
}

// mayBeDue says whether a request that was queued just now can make a batch due:
// mostly not, where all slots are taken or others of its lane wait already. It
// requires mu.
func (b *Batcher[Q, R]) mayBeDue(w *waiter) bool {
	s := &b.settings
	if w.first != nil {
		return false // it came to a prompt that waits already
	}
	if s.Mode == ModeFixed && b.stats.InFlight >= s.MaxInFlight {
		return false // the end of a batch is what it waits for
	}
	l := w.lane
	return s.Mode != ModeFixed || l.open < 2 || l.open >= s.BatchSize || !w.deadline.IsZero() || b.draining ||
		spent(l.tokens, l.open, l.count, b.tokenBudget()) || spent(l.bytes, l.open, l.count, s.BatchBytes)
}

// refusal is why a request can't be accepted now, or nil. It requires mu.
func (b *Batcher[Q, R]) refusal(w *waiter) error {
	switch {
	case b.closed:
		return ErrClosed
	case b.draining:
		return ErrDraining
	case b.queue.count >= b.settings.QueueRequests:
		return &FullError{"queue_requests", int64(b.settings.QueueRequests)}
	case b.queue.bytes+int64(w.bytes) > b.settings.QueueBytes:
		return &FullError{"queue_bytes", b.settings.QueueBytes}
	case b.breaker.open(w.accepted):
		return &PausedError{b.breaker.openUntil.Sub(w.accepted)}
	}
	return b.late(w, w.accepted)
}

// late is a *LateError if even a batch of its own would come too late for a
// request, or nil. It requires mu.
func (b *Batcher[Q, R]) late(w *waiter, now time.Time) error {
	if w.deadline.IsZero() || !b.meter.cost.Ready() {
		return nil
	}
	left := w.deadline.Sub(now)
	needs := b.meter.cost.atLeast(b.meter.cost.Predict(1, b.uncached(w, b.queue.belief.knownOf(w))))
	if left < needs {
		return &LateError{left, needs}
	}
	return nil
}

// uncached is how many tokens of a request SGLang is expected to compute, with
// known blocks of it believed cached. It requires mu.
func (b *Batcher[Q, R]) uncached(w *waiter, known int) float64 {
	tokens := float64(w.tokens)
	if len(w.prefix) == 0 || w.bytes == 0 {
		return tokens * b.meter.uncachedShare()
	}
	return tokens * (1 - float64(known*BlockBytes)/float64(w.bytes))
}

// abandon ends a request whose context has ended, unless another end came first. The
// batch of a request in flight goes on for its neighbours, and is cancelled when no
// caller is left.
func (b *Batcher[Q, R]) abandon(e *entry[Q, R]) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case e.lane != nil || e.first != nil && e.batch == nil:
		b.queue.leave(&e.waiter)
		b.settle()
	case e.batch != nil:
		batch, i := e.batch, e.receipt.Position
		batch.part(i, e)
		if batch.gone != nil && batch.members[i].entry == nil {
			batch.gone(i)
		}
		if batch.live == 0 {
			batch.cancel()
		}
	default:
		return
	}
	e.err = e.ctx.Err()
	b.stats.Cancelled++
	e.end()
}

func (b *Batcher[Q, R]) recycle(e *entry[Q, R]) {
	*e = entry[Q, R]{ended: e.ended, waiter: waiter{entry: e}}
	b.entries.Put(e)
}

// release asks the policy what is due, starts those batches, and sets the timer
// for what is due next. It requires mu.
func (b *Batcher[Q, R]) release(now time.Time) {
	for b.queue.count > 0 {
		s := b.effective()
		b.look(s, now)
		d := decide(b.view, s, &moment{
			now: now, inFlight: b.stats.InFlight, slots: b.slots(s, now), draining: b.draining, turn: b.ordered / (agedShare - 1),
		})
		if d.take == 0 {
			b.wakeUp(b.tryAgain(d.wake, now), now)
			break
		}
		b.start(b.queue.lanes[d.lane], &d, s, now)
	}
	for _, l := range b.queue.lanes {
		l.crowded = false
	}
}

// effective is the settings with what the mode decides by itself. It requires mu.
func (b *Batcher[Q, R]) effective() *Settings {
	budget := b.tokenBudget()
	if b.settings.Mode != ModeAuto && budget == b.settings.BatchTokens {
		return &b.settings
	}
	s, t := &b.chosen, &b.tuner
	*s = b.settings
	s.BatchTokens = budget
	if s.Mode == ModeAuto {
		t.choose(b.queue.count, b.stats.InFlightRequests, &b.meter)
		s.BatchSize, s.MaxWait, s.MaxInFlight = t.size, t.wait, t.slots()
	}
	return s
}

// tokenBudget is the most prompt tokens in a batch now; 0: no bound. It requires mu.
func (b *Batcher[Q, R]) tokenBudget() int64 {
	return smaller(b.settings.BatchTokens, b.forwardsBudget())
}

// leastShare is the least part of the prompts' tokens that a budget reckons as not
// cached: what is cached costs a little, and the next prompts may not be.
const leastShare = 0.1

// forwardsBudget is BatchForwards in prompt tokens, of which only some are
// computed. It requires mu.
func (b *Batcher[Q, R]) forwardsBudget() int64 {
	if b.settings.BatchForwards == 0 || b.server.ForwardTokens == 0 {
		return 0
	}
	return int64(float64(b.settings.BatchForwards) * float64(b.server.ForwardTokens) / max(b.meter.uncachedShare(), leastShare))
}

// smaller is the smaller of two budgets, of which 0 is none.
func smaller(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// look fills view. It requires mu.
func (b *Batcher[Q, R]) look(s *Settings, now time.Time) {
	b.view = b.view[:0]
	for _, l := range b.queue.lanes {
		v := laneView{
			count: l.count, open: l.open, tokens: l.tokens, bytes: l.bytes,
			oldest: l.first.since, since: l.first.since, priority: l.priority, attained: l.attained(),
		}
		if l.crowded {
			v.open = 0 // until a batch in flight ends
		}
		if l.open < l.count && l.released.After(v.since) {
			v.since = l.released // the oldest may be held: the rest fills a batch of its own
		}
		if t := &b.tuner; s.Mode == ModeAuto && t.gather.now() && len(b.queue.lanes) == 1 && t.ceased.After(v.since) {
			v.since = t.ceased // those who were answered then may come back
		}
		if at := l.urgent.earliest(); !at.IsZero() && b.meter.cost.Ready() {
			v.last = at.Add(-b.horizon(l, s, now))
		}
		b.view = append(b.view, v)
	}
}

// horizon is the time within which a batch of the lane that goes now is answered,
// at the most. It requires mu.
func (b *Batcher[Q, R]) horizon(l *lane, s *Settings, now time.Time) time.Duration {
	n := min(l.open, takeLimit(s))
	tokens := float64(l.tokens) / float64(l.count) * float64(n) * b.meter.uncachedShare()
	return b.meter.cost.atMost(b.meter.backlog(now) + b.meter.cost.Predict(n, tokens))
}

// slots is the most batches in flight now. It requires mu.
func (b *Batcher[Q, R]) slots(s *Settings, now time.Time) int {
	if s.Mode == ModeUnbatched {
		return b.breaker.slots(math.MaxInt, now)
	}
	return b.breaker.slots(s.MaxInFlight, now)
}

// tryAgain adds the end of the breaker's pause to what there is to wake for. It
// requires mu.
func (b *Batcher[Q, R]) tryAgain(wake, now time.Time) time.Time {
	if b.breaker.open(now) {
		return b.breaker.openUntil
	}
	return wake
}

// start takes requests from a lane as decided and dispatches them as one batch.
// It requires mu.
func (b *Batcher[Q, R]) start(l *lane, d *decision, s *Settings, now time.Time) {
	batch := &Batch[Q, R]{owner: b, reason: d.reason, released: now, limit: s.BatchSize}
	if s.Mode == ModeUnbatched {
		batch.limit = 1
	}
	tokens := b.fill(batch, l, d, s, now)
	if len(batch.members) == 0 {
		return // all of them were too late
	}
	b.batches++
	batch.id = b.batches
	batch.ctx, batch.cancel = context.WithCancel(context.Background())
	if batch.next = b.inFlight; batch.next != nil {
		batch.next.prev = batch
	}
	b.inFlight = batch
	b.tuner.sent(b.stats.InFlight, now)
	batch.cost, batch.expected = b.meter.sent(len(batch.members), tokens, b.stats.InFlight, now)
	for i := range batch.members {
		batch.board(i, now)
	}
	if d.fifo {
		b.ordered = max(0, b.ordered-(agedShare-1)*len(batch.members))
	} else {
		b.ordered = min(b.ordered+len(batch.members), (agedShare-1)*s.BatchSize)
	}
	l.released = now
	b.stats.InFlight++
	b.stats.InFlightRequests += batch.live
	b.stats.Releases[batch.reason].Batches++
	b.stats.Releases[batch.reason].Requests += uint64(batch.live)
	batch.merged = batch.live - len(batch.members)
	b.stats.Merged += uint64(batch.merged)
	b.released = append(b.released, batch)
	if b.free {
		b.free = false
		return
	}
	b.running.Add(1)
	go b.work()
}

// fill moves requests from the lane into the batch: in order of arrival if so
// decided; else first those whose deadline presses, then as the lane picks. It
// returns the tokens that they are expected to cost. It requires mu.
func (b *Batcher[Q, R]) fill(batch *Batch[Q, R], l *lane, d *decision, s *Settings, now time.Time) (uncached float64) {
	var tokens, bytes int64
	var urgentBy time.Time // the batch after this one would be too late
	if len(l.urgent) > 0 {
		urgentBy = now.Add(2*b.horizon(l, s, now) + s.MaxWait)
	}
	if batch.members = batch.single[:0]; d.take > 1 {
		batch.members = make([]member[Q, R], 0, d.take)
	}
	for len(batch.members) < d.take && l.count > 0 {
		w := l.first
		if !d.fifo {
			if w = l.urgent.before(urgentBy); w == nil {
				w = l.pick()
			}
		}
		if w == nil || d.fifo && len(batch.members) > 0 && !d.until.IsZero() && w.since.After(d.until) {
			break
		}
		if err := b.late(w, now); err != nil {
			b.drop(w, err)
			continue
		}
		known := b.queue.belief.knownOf(w)
		room := w.room(known)
		if !d.fifo && b.crowded(room, len(batch.members)) {
			batch.reason, l.crowded = ReasonBudget, true
			break
		}
		tokens, bytes = tokens+int64(w.tokens), bytes+int64(w.bytes)
		if len(batch.members) > 0 && (s.BatchTokens > 0 && tokens > s.BatchTokens || s.BatchBytes > 0 && bytes > s.BatchBytes) {
			batch.reason = ReasonBudget
			break
		}
		reserved := b.queue.belief.reserve(w, room)
		last := b.queue.belief.fly(w)
		b.queue.remove(w)
		m := member[Q, R]{entry: w.entry.(*entry[Q, R]), caller: w.caller, last: last, bytes: w.bytes, reserved: reserved}
		m.value = m.entry.value
		m.known, m.answers = known, b.queue.belief.answers
		m.uncached = b.uncached(w, m.known)
		m.claims = b.claim(&m)
		b.queue.callers.serve(w.caller, m.uncached+1) // a cached prompt is not free either
		uncached += m.uncached
		batch.members = append(batch.members, m)
	}
	return uncached
}

// claim makes requests wait that share what is new of member m, if there is
// anything, and says whether they do; in ModeAuto a single one only as long as that
// was found to pay. It requires mu.
func (b *Batcher[Q, R]) claim(m *member[Q, R]) bool {
	if m.last == nil || m.known == m.last.end() {
		return false
	}
	first := m.last.at(m.known)
	if b.settings.Mode == ModeAuto && !b.tuner.holding() && first.waiting() <= 1 {
		return false
	}
	b.queue.belief.begin(first)
	return true
}

// cacheShare is the part of the server's cache that is set aside for requests
// that share: the rest is for what it keeps beside.
const cacheShare = 0.8

// crowded says whether a request that needs so much room in the server's cache
// would push out what others in flight and behind them are to find there. One
// alone always goes. It requires mu.
func (b *Batcher[Q, R]) crowded(room, taken int) bool {
	if room == 0 || b.server.CacheTokens == 0 || b.stats.InFlight == 0 && taken == 0 {
		return false
	}
	return float64((b.queue.belief.reserved+room)*BlockTokens) > cacheShare*float64(b.server.CacheTokens)
}

// drop ends a waiting request that can't be answered in time, but not its twins,
// which have deadlines of their own. It requires mu.
func (b *Batcher[Q, R]) drop(w *waiter, err error) {
	e := w.entry.(*entry[Q, R])
	b.queue.leave(w)
	e.err = err
	b.stats.Cancelled++
	e.end()
	b.settle()
}

// dispatchAll is a dispatch goroutine: it dispatches a released batch, then one of
// those that its end makes due, until there are none. So while there is work it
// stays, with the stack that dispatching needs.
func (b *Batcher[Q, R]) dispatchAll() {
	defer b.running.Done()
	for batch := b.next(nil, nil); batch != nil; {
		err := b.dispatch(batch.ctx, batch)
		batch.cancel()
		if err == nil {
			err = ErrUnanswered
		}
		batch = b.next(batch, err)
	}
}

// next ends a batch, if there is one, and returns a released batch that has to be
// dispatched, or nil.
func (b *Batcher[Q, R]) next(ended *Batch[Q, R], err error) *Batch[Q, R] {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ended != nil {
		b.free = true
		b.end(ended, err)
		b.free = false
	}
	if len(b.released) == 0 {
		return nil
	}
	first := b.released[0]
	b.released = slices.Delete(b.released, 0, 1)
	return first
}

// end ends a batch, whose members that are left fail with err, and releases what
// its slot makes due. It requires mu.
func (b *Batcher[Q, R]) end(batch *Batch[Q, R], err error) {
	if b.closed {
		err = ErrClosed
	}
	for i := range batch.members {
		batch.fail(i, err)
	}
	now := time.Now()
	b.land(batch)
	b.stats.InFlight--
	a := batch.account()
	b.meter.ended(a, b.stats.InFlight, now)
	if b.settings.Mode == ModeAuto {
		b.tuner.ended(a, b.meter.cost, b.stats.InFlight, b.queue.count > 0, b.queue.belief.holds, now)
	}
	b.release(now)
	b.settle()
}

// land takes a batch off the list of those in flight. It requires mu.
func (b *Batcher[Q, R]) land(batch *Batch[Q, R]) {
	if batch.prev == nil {
		b.inFlight = batch.next
	} else {
		batch.prev.next = batch.next
	}
	if batch.next != nil {
		batch.next.prev = batch.prev
	}
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
	if !b.closed {
		b.release(time.Now())
	}
}

// Server is what is known of the server that batches are sent to; 0 where it is
// not known.
type Server struct {
	CacheTokens   int // tokens its prefix cache holds
	ForwardTokens int // most tokens in one forward
}

// SetServer tells what the server is. If it may be another one than before, or
// has been restarted, call Forget too.
func (b *Batcher[Q, R]) SetServer(s Server) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.server = s
	b.limitBelief()
}

// limitBelief bounds what is believed cached by the setting and by what the
// server can hold. It requires mu.
func (b *Batcher[Q, R]) limitBelief() {
	limit := b.settings.PrefixBlocks
	if b.server.CacheTokens > 0 {
		limit = min(limit, max(1, b.server.CacheTokens/BlockTokens))
	}
	b.queue.belief.setLimit(limit)
}

// Forget drops what is believed to be in the server's prefix cache: it was
// flushed, or the server restarted.
func (b *Batcher[Q, R]) Forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queue.belief.forget()
}

// Load is how many requests are accepted and not ended, and how many leading
// blocks of a prompt are believed cached or wait here with another prompt: what
// speaks against this batcher and for it, where there are several.
func (b *Batcher[Q, R]) Load(p Prefix) (requests, shared int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.queue.count + b.stats.InFlightRequests, b.queue.belief.seen(p)
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
	b.limitBelief()
	if !s.PrefixOrder {
		b.queue.belief.forget()
	}
	b.release(time.Now())
	return nil
}

// Stats returns a consistent snapshot.
func (b *Batcher[Q, R]) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	s := b.stats
	s.Queued, s.QueuedBytes = b.queue.count, b.queue.bytes
	for _, l := range b.queue.lanes {
		s.Held += l.count - l.open
	}
	s.Callers = len(b.queue.callers.byName)
	s.CachedBlocks = b.queue.belief.cached
	s.Cost = b.meter.cost
	s.BreakerOpen = b.breaker.open(now)
	if b.settings.Mode == ModeAuto {
		s.Plan = b.tuner.plan(&b.meter, b.forwardsBudget())
	}
	return s
}
