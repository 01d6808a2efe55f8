package batcher

import (
	"cmp"
	"fmt"
	"time"
)

// laneView is what the policy sees of one lane: of the waiting prompts that may
// share a batch.
type laneView struct {
	count    int       // waiting prompts, at least 1
	open     int       // of these, not held for the sake of another's prefix
	tokens   int64     // in all of them
	bytes    int64     // in all of them
	oldest   time.Time // when the place of its first was taken
	since    time.Time // its batch has been filling from then on
	last     time.Time // a batch must go by then for the earliest deadline; zero: none
	priority int       // higher goes first
	attained float64   // of its least served caller, see caller
}

// moment is what the policy sees of everything else.
type moment struct {
	now      time.Time
	free     int // slots without a batch in flight
	draining bool
	turn     int // max prompts that may go in order of arrival now, if the oldest is too old
}

// decision is what to do now: release take prompts of the lane, in order of
// arrival if fifo; or, when take is 0, look again at wake (zero: only when
// something changes).
type decision struct {
	lane   int
	take   int
	fifo   bool
	until  time.Time // with fifo: when the first of another lane came; zero: none
	reason Reason
	wake   time.Time
}

// agedShare bounds what order costs: once a prompt is too old, one in so many goes
// in order of arrival. So after MaxAge it waits at most for so many times the
// prompts that came before it.
const agedShare = 4

// decide is the whole release policy: a pure function of the queue, the
// settings, the free slots and the time. Among lanes that are due, that of the
// highest priority goes first, then that of the least served caller, then the
// oldest. But once the oldest prompt of all has waited MaxAge, one prompt in
// agedShare is the oldest.
//
// It takes pointers, because it runs on the stacks of thousands of callers:
// copies made those grow.
func decide(lanes []laneView, s *Settings, m *moment) decision {
	if m.free <= 0 {
		return decision{} // the end of a batch is a change: nothing to wake for
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
			d.wake = earlier(d.wake, limit) // held, but not for ever
		}
	case m.turn > 0 || d.take == 0:
		l := &lanes[oldest]
		return decision{lane: oldest, take: min(l.count, s.BatchSize, max(1, m.turn)), fifo: true, until: second, reason: ReasonWait}
	}
	return d
}

// due returns why the lane should be released now, or ReasonNone and when to look
// again.
func due(l *laneView, s *Settings, m *moment) (Reason, time.Time) {
	switch {
	case l.open == 0:
		return ReasonNone, time.Time{}
	case s.Mode == ModeUnbatched:
		return ReasonUnbatched, time.Time{}
	case l.open >= s.BatchSize:
		return ReasonFull, time.Time{}
	case spent(l.tokens, l.open, l.count, s.BatchTokens), spent(l.bytes, l.open, l.count, s.BatchBytes):
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

// spent reports whether the open ones of count prompts reach a budget, as far as
// the sum over all of them tells.
func spent(sum int64, open, count int, budget int64) bool {
	return budget > 0 && sum*int64(open)/int64(count) >= budget
}

// before reports whether lane a goes before lane b.
func before(a, b *laneView) bool {
	return cmp.Or(cmp.Compare(b.priority, a.priority), cmp.Compare(a.attained, b.attained), a.oldest.Compare(b.oldest)) < 0
}

// earlier returns the earlier of two times, where zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Reason is why a batch was released when it was.
type Reason uint8

// The reasons.
const (
	ReasonNone      Reason = iota // not released
	ReasonFull                    // the batch size was reached
	ReasonBudget                  // the token or byte budget was reached
	ReasonWait                    // the oldest request had waited MaxWait
	ReasonDeadline                // a member's deadline would have been missed
	ReasonIdle                    // MaxWait is 0 and a slot was free
	ReasonDrain                   // the batcher is draining
	ReasonUnbatched               // ModeUnbatched

	// NumReasons is the number of reasons, ReasonNone included.
	NumReasons
)

var reasonNames = [...]string{"none", "full", "budget", "wait", "deadline", "idle", "drain", "unbatched"}

var _ [NumReasons]string = reasonNames // each reason has a name

// String is the reason's name in receipts, metrics and reports.
func (r Reason) String() string {
	if r < NumReasons {
		return reasonNames[r]
	}
	return fmt.Sprintf("Reason(%d)", uint8(r))
}
