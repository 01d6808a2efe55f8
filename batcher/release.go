package batcher

import (
	"context"
	"math"
	"time"

	"paceline/batcher/prefix"
	"paceline/batcher/tune"
)

// release starts the batches that are due by the policy, and sets the timer for the next.
// It ends a drain that has nothing left to wait for. It requires mu.
func (b *Batcher[Q, R]) release(now time.Time) {
	if len(b.passing.all) > 0 {
		b.admitWaiting()
	}
	for b.queue.count > 0 {
		s, free := b.effective(now)
		d := decide(b.look(&s, free, now), &s, &moment{now: now, free: free, draining: b.draining, turn: b.ordered / (agedShare - 1)})
		if d.take == 0 {
			b.wakeUp(d.wake, now)
			break
		}
		b.start(b.queue.lanes[d.lane], &d, &s, now)
	}
	for _, l := range b.queue.lanes {
		l.crowded = false
	}
	b.settle()
}

// settle ends a drain that has nothing left to wait for. It requires mu.
func (b *Batcher[Q, R]) settle() {
	if b.settled != nil && b.queue.count == 0 && len(b.inFlight) == 0 {
		b.finishDrain()
	}
}

// minShare is the min share of prompt tokens that a budget counts as not cached: cached
// tokens cost a little, too, and the next prompts may have fewer of them.
const minShare = 0.1

// effective returns the settings with what the mode and ForwardsInFlight make of them, and
// the free slots. No slot is free unless ForwardsInFlight leaves a whole forward, so that a
// small rest makes no small batches. It requires mu.
func (b *Batcher[Q, R]) effective(now time.Time) (s Settings, free int) {
	s = b.settings
	if s.Mode == ModeUnbatched {
		s.BatchSize, s.MaxInFlight, s.ForwardsInFlight = 1, math.MaxInt, 0
	}
	free = b.breaker.slots(s.MaxInFlight, now) - len(b.inFlight)
	forward := float64(b.server.ForwardTokens)
	left := float64(s.ForwardsInFlight) * forward // in prompt tokens: cached ones count by minShare
	switch {
	case left == 0: // no bound
		return s, free
	case left-b.uncachedInFlight < forward && len(b.inFlight) > 0:
		return s, 0 // until a batch in flight ends
	}
	tokens := int64((left - b.uncachedInFlight) / max(b.meter.UncachedShare(), minShare))
	if s.BatchTokens == 0 || tokens < s.BatchTokens {
		s.BatchTokens = tokens
	}
	return s, free
}

// look returns the policy's view of each lane, or nil while no slot is free. It requires
// mu.
func (b *Batcher[Q, R]) look(s *Settings, free int, now time.Time) []laneView {
	b.view = b.view[:0]
	if free <= 0 {
		return b.view
	}
	for _, l := range b.queue.lanes {
		since := l.prompts.Front().Value.(*prompt[Q, R]).since
		v := laneView{
			count: l.prompts.Len(), open: l.open(), tokens: l.tokens, bytes: l.bytes,
			oldest: since, since: since, priority: l.priority,
		}
		if g := l.neediest(); g != nil {
			v.attained = g.caller.attained
		}
		if v.open < v.count && l.released.After(since) {
			v.since = l.released // the oldest may be held; the others fill a batch of their own
		}
		if len(l.urgent) > 0 && b.meter.Cost.Ready() {
			v.last = l.urgent[0].items[0].deadline.Add(-b.horizon(l, s, now))
		}
		if l.crowded {
			v.open = 0 // until a batch in flight ends
		}
		b.view = append(b.view, v)
	}
	return b.view
}

// horizon returns the max time until the answer to a batch of the lane that is released
// now. It requires mu.
func (b *Batcher[Q, R]) horizon(l *lane[Q, R], s *Settings, now time.Time) time.Duration {
	n, cost := min(l.open(), s.BatchSize), b.meter.Cost
	tokens := float64(l.tokens) / float64(l.prompts.Len()) * float64(n) * b.meter.UncachedShare()
	return cost.AtMost(b.meter.Backlog(now) + cost.Predict(n, tokens))
}

// start moves prompts from a lane into a batch, as decided, and sends it. It requires mu.
func (b *Batcher[Q, R]) start(l *lane[Q, R], d *decision, s *Settings, now time.Time) {
	batch := &Batch[Q, R]{Release: Release{Reason: d.reason, At: now, Limit: s.BatchSize}, owner: b, members: make([]member[Q, R], 0, d.take)}
	uncached := b.fill(batch, l, d, s, now)
	n := len(batch.members)
	if n == 0 {
		return // all of them were too late
	}
	b.batches++
	batch.ID, batch.Size, batch.Gone = b.batches, n, make(chan int, n)
	batch.ctx, batch.cancel = context.WithCancel(context.Background())
	batch.used = tune.Account{Prompts: n, Released: now, Clean: true}
	batch.uncached = uncached
	b.uncachedInFlight += uncached
	batch.used.Predicted, batch.Predicted = b.meter.Sent(n, uncached, len(b.inFlight), now)
	for i := range batch.members {
		batch.bind(i)
	}
	batch.Merged = batch.live - n
	if d.fifo {
		b.ordered = max(0, b.ordered-(agedShare-1)*n)
	} else {
		b.ordered = min(b.ordered+n, (agedShare-1)*s.BatchSize)
	}
	l.released = now
	b.inFlight[batch] = struct{}{}
	b.stats.InFlightRequests += batch.live
	b.stats.Releases[batch.Reason].Batches++
	b.stats.Releases[batch.Reason].Requests += uint64(batch.live)
	b.stats.Merged += uint64(batch.Merged)
	b.running.Go(batch.send)
}

// fill moves prompts from the lane into the batch, in order of arrival if the decision says
// fifo. Otherwise prompts with an urgent deadline go first, and then the lane's order
// decides. It returns the number of tokens that the server is expected to compute. It
// requires mu.
func (b *Batcher[Q, R]) fill(batch *Batch[Q, R], l *lane[Q, R], d *decision, s *Settings, now time.Time) (uncached float64) {
	var tokens, bytes int64
	var urgentBy time.Time // for earlier deadlines the next batch would be too late
	if len(l.urgent) > 0 {
		urgentBy = now.Add(2*b.horizon(l, s, now) + s.MaxWait)
	}
	for len(batch.members) < d.take && l.prompts.Len() > 0 {
		p := l.next(d.fifo, urgentBy)
		first := len(batch.members) == 0
		if p == nil || d.fifo && !first && !d.until.IsZero() && p.since.After(d.until) {
			break
		}
		it := p.items[0] // the leader
		if !it.deadline.IsZero() {
			if err := b.late(it, now); err != nil {
				b.fail(it, err)
				b.stats.Cancelled++
				continue
			}
		}
		if !d.fifo && b.crowded(&p.entry, first) {
			batch.Reason, l.crowded = ReasonBudget, true
			break
		}
		tokens, bytes = tokens+int64(it.Tokens), bytes+int64(it.Bytes)
		if !first && (s.BatchTokens > 0 && tokens > s.BatchTokens || s.BatchBytes > 0 && bytes > s.BatchBytes) {
			batch.Reason = ReasonBudget
			break
		}
		m := member[Q, R]{leader: it, items: p.items, uncached: b.uncached(it), inFlight: b.queue.send(p)}
		batch.Shared += int(max(0, it.fresh-m.uncached))
		b.callers.serve(it.caller, m.uncached+1) // a cached prompt is not free either
		uncached += m.uncached
		batch.members = append(batch.members, m)
	}
	return uncached
}

// cacheShare is the max share of the server's cache that is set aside for prompts that
// share a prefix.
const cacheShare = 0.8

// crowded reports whether a prompt would evict blocks of the server's cache that others in
// flight and their followers need. A prompt alone always goes. It requires mu.
func (b *Batcher[Q, R]) crowded(e *prefix.Entry, first bool) bool {
	if b.server.CacheTokens == 0 || len(b.inFlight) == 0 && first {
		return false
	}
	room := b.model.Room(e)
	return room > 0 && float64((b.model.Reserved()+room)*prefix.BlockTokens) > cacheShare*float64(b.server.CacheTokens)
}

// wakeUp sets the timer for t, or for the end of the breaker's pause. A zero t needs no
// timer. It requires mu.
func (b *Batcher[Q, R]) wakeUp(t, now time.Time) {
	if b.breaker.open(now) {
		t = b.breaker.openUntil
	}
	if t.IsZero() || t.Equal(b.wakeAt) {
		return
	}
	b.wakeAt = t
	b.timer.Reset(t.Sub(now))
}

func (b *Batcher[Q, R]) wake() {
	b.mu.Lock()
	defer b.unlock()
	b.wakeAt = time.Time{}
	if !b.closed {
		b.release(time.Now())
	}
}
