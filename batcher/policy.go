package batcher

import (
	"cmp"
	"fmt"
	"time"
)

// laneView is the policy's view of one lane: of the waiting prompts that may share a
// batch.
type laneView struct {
	count    int       // waiting prompts, at least 1
	open     int       // of these, not held for another's prefix
	tokens   int64     // in all of them
	bytes    int64     // in all of them
	oldest   time.Time // when its oldest prompt was accepted
	since    time.Time // when its batch began to fill
	last     time.Time // latest release that meets the earliest deadline; zero: none
	priority int       // higher goes first
	attained float64   // of its least served caller, see caller
}

// moment is the policy's view of everything else.
type moment struct {
	now      time.Time
	free     int // slots without a batch in flight
	draining bool
	turn     int // max prompts to release in order of arrival now, if the oldest is too old
}

// decision says what to do now: release take prompts of the lane, in order of arrival if
// fifo is set. If take is 0, decide again at wake, or (wake is zero) at the next change.
type decision struct {
	lane   int
	take   int
	fifo   bool
	until  time.Time // with fifo: when the oldest prompt of another lane was accepted; zero: none
	reason Reason
	wake   time.Time
}

// agedShare bounds the cost of the order: while a prompt is too old, one in agedShare
// prompts goes in order of arrival. So a prompt that has waited MaxAge waits for at most
// agedShare times the prompts that came before it.
const agedShare = 4

// decide is the whole release policy: a pure function of the queue, the settings, the
// free slots and the time. Among the lanes that are due it chooses that of the highest
// priority, then that of the least served caller, then the oldest. But once the oldest
// prompt of all has waited MaxAge, every agedShare-th prompt released is the oldest.
//
// It takes pointers because it runs on the stacks of thousands of callers, and copies
// made these grow.
func decide(lanes []laneView, s *Settings, m *moment) decision {
	if m.free <= 0 {
		return decision{} // the end of a batch is a change: no timer is needed
	}
	var d decision
	oldest, second := -1, time.Time{}
	for i := range lanes {
		l := &lanes[i]
		switch {
		case oldest < 0:
			oldest = i
		case l.oldest.Before(lanes[oldest].oldest):
			oldest, second = i, lanes[oldest].oldest
		default:
			second = earlier(second, l.oldest)
		}
		reason, at := due(l, s, m)
		switch {
		case reason == ReasonNone:
			d.wake = earlier(d.wake, at)
		case d.take == 0 || before(l, &lanes[d.lane]):
			d.lane, d.take, d.reason = i, min(l.open, s.BatchSize), reason
		}
	}
	if oldest < 0 || s.Mode == ModeUnbatched {
		return d
	}
	limit := lanes[oldest].oldest.Add(max(s.MaxAge, s.MaxWait))
	switch {
	case m.now.Before(limit):
		if lanes[oldest].open < lanes[oldest].count {
			d.wake = earlier(d.wake, limit) // held, but not longer than this
		}
	case m.turn > 0 || d.take == 0:
		l := &lanes[oldest]
		return decision{lane: oldest, take: min(l.count, s.BatchSize, max(1, m.turn)), fifo: true, until: second, reason: ReasonAge}
	}
	return d
}

// due returns the reason to release the lane now, or ReasonNone and when to decide
// again.
func due(l *laneView, s *Settings, m *moment) (Reason, time.Time) {
	// spent estimates the part that the open prompts have of the sum over all.
	spent := func(sum, budget int64) bool { return budget > 0 && sum*int64(l.open)/int64(l.count) >= budget }
	switch {
	case l.open == 0:
		return ReasonNone, time.Time{}
	case s.Mode == ModeUnbatched:
		return ReasonUnbatched, time.Time{}
	case l.open >= s.BatchSize:
		return ReasonFull, time.Time{}
	case spent(l.tokens, s.BatchTokens), spent(l.bytes, s.BatchBytes):
		return ReasonBudget, time.Time{}
	case m.draining:
		return ReasonDrain, time.Time{}
	case !l.last.IsZero() && !m.now.Before(l.last):
		return ReasonDeadline, time.Time{}
	case s.MaxWait == 0:
		return ReasonIdle, time.Time{}
	}
	at := l.since.Add(s.MaxWait)
	if !m.now.Before(at) {
		return ReasonWait, time.Time{}
	}
	return ReasonNone, earlier(at, l.last)
}

// before reports whether lane a goes before lane b.
func before(a, b *laneView) bool {
	return cmp.Or(cmp.Compare(b.priority, a.priority), cmp.Compare(a.attained, b.attained), a.oldest.Compare(b.oldest)) < 0
}

// earlier returns the earlier of two times. Zero means none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Reason says why a batch was released.
type Reason uint8

// The reasons.
const (
	ReasonNone      Reason = iota // not released
	ReasonFull                    // the batch size was reached
	ReasonBudget                  // the token or byte budget was reached
	ReasonWait                    // the oldest request had waited MaxWait
	ReasonDeadline                // a longer wait would have missed a member's deadline
	ReasonIdle                    // MaxWait is 0, and a slot was free
	ReasonDrain                   // the batcher is draining
	ReasonUnbatched               // ModeUnbatched
	ReasonAge                     // the oldest request had waited MaxAge, and some went in order of arrival

	// NumReasons is the number of reasons, ReasonNone included.
	NumReasons
)

var reasonNames = [...]string{"none", "full", "budget", "wait", "deadline", "idle", "drain", "unbatched", "age"}

var _ [NumReasons]string = reasonNames // each reason has a name

// String is the reason's name in receipts, metrics and reports.
func (r Reason) String() string {
	if r < NumReasons {
		return reasonNames[r]
	}
	return fmt.Sprintf("Reason(%d)", uint8(r))
}
