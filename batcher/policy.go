package batcher

import "time"

// laneView is what the policy sees of one lane. A lane holds, in order of
// arrival, the waiting requests that may share a batch.
type laneView struct {
	count  int       // waiting prompts, at least 1
	tokens int64     // in them
	bytes  int64     // in them
	oldest time.Time // when the place of its first was taken
}

// decision is what to do now: release take requests from the front of the
// lane, or, when take is 0, look again at wake (zero: only when something
// changes).
type decision struct {
	lane   int
	take   int
	reason Reason
	wake   time.Time
}

// decide is the whole release policy: a pure function of the queue, the
// settings, the batches in flight and the time. Among lanes that are due, the
// one whose first request is oldest goes first.
func decide(lanes []laneView, s Settings, inFlight int, draining bool, now time.Time) decision {
	if s.Mode == ModeFixed && inFlight >= s.MaxInFlight {
		return decision{} // the end of a batch is a change: nothing to wake for
	}
	var d decision
	for i, l := range lanes {
		reason := due(l, s, draining, now)
		switch {
		case reason == ReasonNone:
			if t := l.oldest.Add(s.MaxWait); d.wake.IsZero() || t.Before(d.wake) {
				d.wake = t
			}
		case d.take == 0 || l.oldest.Before(lanes[d.lane].oldest):
			d.lane, d.take, d.reason = i, min(l.count, takeLimit(s)), reason
		}
	}
	return d
}

// due is why the lane should be released now, or ReasonNone.
func due(l laneView, s Settings, draining bool, now time.Time) Reason {
	switch {
	case s.Mode == ModeUnbatched:
		return ReasonUnbatched
	case l.count >= s.BatchSize:
		return ReasonFull
	case s.BatchTokens > 0 && l.tokens >= s.BatchTokens, s.BatchBytes > 0 && l.bytes >= s.BatchBytes:
		return ReasonBudget
	case draining:
		return ReasonDrain
	case s.MaxWait == 0:
		return ReasonIdle
	case now.Sub(l.oldest) >= s.MaxWait:
		return ReasonWait
	}
	return ReasonNone
}

func takeLimit(s Settings) int {
	if s.Mode == ModeUnbatched {
		return 1
	}
	return s.BatchSize
}
