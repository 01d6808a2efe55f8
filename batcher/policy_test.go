package batcher

import (
	"testing"
	"time"
)

func TestPolicyDecides(t *testing.T) {
	now := time.Unix(1000, 0)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	const none = -1 // no open request
	fixed := Settings{Mode: ModeFixed, BatchSize: 4, MaxWait: 10 * time.Millisecond, MaxInFlight: 2, MaxAge: time.Second}
	eager := fixed
	eager.MaxWait = 0
	budget := fixed
	budget.BatchTokens = 100
	unbatched := fixed
	unbatched.Mode, unbatched.BatchSize = ModeUnbatched, 1

	cases := []struct {
		name     string
		lanes    []laneView
		settings Settings
		inFlight int
		draining bool
		want     decision
		turn     int
	}{
		{"an empty queue wants nothing", nil, fixed, 0, false, decision{}, 0},
		{"a full batch goes", []laneView{{count: 4, oldest: now}}, fixed, 0, false, decision{take: 4, reason: ReasonFull}, 0},
		{
			"more than a batch goes one batch at a time", []laneView{{count: 9, oldest: now}}, fixed, 1, false,
			decision{take: 4, reason: ReasonFull}, 0,
		},
		{"a young partial batch waits for its oldest", []laneView{{count: 3, oldest: ago(4 * time.Millisecond)}}, fixed, 0, false,
			decision{wake: now.Add(6 * time.Millisecond)}, 0},
		{
			"an old partial batch goes", []laneView{{count: 3, oldest: ago(10 * time.Millisecond)}}, fixed, 0, false,
			decision{take: 3, reason: ReasonWait}, 0,
		},
		{
			"a lane with the tokens of a batch goes", []laneView{{count: 2, tokens: 100, oldest: now}}, budget, 0, false,
			decision{take: 2, reason: ReasonBudget}, 0,
		},
		{
			"a lane with fewer tokens waits", []laneView{{count: 2, tokens: 99, oldest: now}}, budget, 0, false,
			decision{wake: now.Add(10 * time.Millisecond)}, 0,
		},
		{
			"without a free slot nothing goes and nothing wakes", []laneView{{count: 4, oldest: ago(time.Second)}}, fixed, 2, false,
			decision{}, 0,
		},
		{
			"without a window a free slot takes what is there", []laneView{{count: 1, oldest: now}}, eager, 1, false,
			decision{take: 1, reason: ReasonIdle}, 0,
		},
		{
			"without a window a full batch is called full", []laneView{{count: 5, oldest: now}}, eager, 1, false,
			decision{take: 4, reason: ReasonFull}, 0,
		},
		{"draining goes at once", []laneView{{count: 2, oldest: now}}, fixed, 0, true, decision{take: 2, reason: ReasonDrain}, 0},
		{"draining keeps to the slots", []laneView{{count: 2, oldest: now}}, fixed, 2, true, decision{}, 0},
		{
			"unbatched goes singly whatever is in flight", []laneView{{count: 3, oldest: now}}, unbatched, 99, false,
			decision{take: 1, reason: ReasonUnbatched}, 0,
		},
		{"of two lanes due the older goes first",
			[]laneView{{count: 4, oldest: ago(time.Millisecond)}, {count: 1, oldest: ago(20 * time.Millisecond)}}, fixed, 0, false,
			decision{lane: 1, take: 1, reason: ReasonWait}, 0},
		{"a full lane does not wait for an older one",
			[]laneView{{count: 1, oldest: ago(5 * time.Millisecond)}, {count: 4, oldest: now}}, fixed, 0, false,
			decision{lane: 1, take: 4, reason: ReasonFull, wake: now.Add(5 * time.Millisecond)}, 0},
		{"the earliest lane sets the wake-up",
			[]laneView{{count: 1, oldest: ago(time.Millisecond)}, {count: 2, oldest: ago(7 * time.Millisecond)}}, fixed, 0, false,
			decision{wake: now.Add(3 * time.Millisecond)}, 0},
		{"a higher priority goes before an older request",
			[]laneView{
				{count: 1, oldest: ago(50 * time.Millisecond)}, {count: 1, oldest: ago(20 * time.Millisecond), priority: 1},
			}, fixed, 0, false,
			decision{lane: 1, take: 1, reason: ReasonWait}, 0},
		{"the least served caller goes before an older request",
			[]laneView{
				{count: 1, oldest: ago(50 * time.Millisecond), attained: 2}, {count: 1, oldest: ago(20 * time.Millisecond), attained: 1},
			}, fixed, 0, false,
			decision{lane: 1, take: 1, reason: ReasonWait}, 0},
		{"held requests don't go and wake at their age",
			[]laneView{{count: 4, open: none, oldest: ago(400 * time.Millisecond)}}, fixed, 0, false,
			decision{wake: now.Add(600 * time.Millisecond)}, 0},
		{"held requests don't fill a batch",
			[]laneView{{count: 9, open: 3, oldest: ago(50 * time.Millisecond)}}, fixed, 0, false,
			decision{take: 3, reason: ReasonWait, wake: now.Add(950 * time.Millisecond)}, 0},
		{"too old, a held request goes in order of arrival",
			[]laneView{{count: 9, open: none, oldest: ago(time.Second)}}, fixed, 0, false,
			decision{take: 1, fifo: true, reason: ReasonAge}, 0},
		{"most batches go by order though somebody is too old",
			[]laneView{{count: 2, oldest: ago(2 * time.Second)}, {count: 4, oldest: now, priority: 1}}, fixed, 0, false,
			decision{lane: 1, take: 4, reason: ReasonFull}, 0},
		{"the oldest have their turn",
			[]laneView{{count: 2, oldest: ago(2 * time.Second)}, {count: 4, oldest: now, priority: 1}}, fixed, 0, false,
			decision{take: 2, fifo: true, until: now, reason: ReasonAge}, 9},
		{"a deadline closes the batch early",
			[]laneView{{count: 2, oldest: now, last: ago(0)}}, fixed, 0, false,
			decision{take: 2, reason: ReasonDeadline}, 0},
		{"a deadline to come sets the wake-up",
			[]laneView{{count: 2, oldest: now, last: now.Add(3 * time.Millisecond)}}, fixed, 0, false,
			decision{wake: now.Add(3 * time.Millisecond)}, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for i := range c.lanes {
				if l := &c.lanes[i]; l.open == 0 {
					l.open = l.count
				} else if l.open == none {
					l.open = 0
				}
				c.lanes[i].since = c.lanes[i].oldest
			}
			slots := c.settings.MaxInFlight
			if c.settings.Mode == ModeUnbatched {
				slots = 1000
			}
			m := moment{now: now, free: slots - c.inFlight, draining: c.draining, turn: c.turn}
			if got := decide(c.lanes, &c.settings, &m); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestSettingsNameTheFieldThatIsOutOfRange(t *testing.T) {
	cases := map[string]func(*Settings){
		"mode":               func(s *Settings) { s.Mode = 9 },
		"batch_size":         func(s *Settings) { s.BatchSize = 0 },
		"batch_tokens":       func(s *Settings) { s.BatchTokens = -1 },
		"batch_bytes":        func(s *Settings) { s.BatchBytes = -1 },
		"forwards_in_flight": func(s *Settings) { s.ForwardsInFlight = maxForwards + 1 },
		"max_wait":           func(s *Settings) { s.MaxWait = -1 },
		"max_in_flight":      func(s *Settings) { s.MaxInFlight = 0 },
		"prefix_blocks":      func(s *Settings) { s.PrefixBlocks = 0 },
		"max_age":            func(s *Settings) { s.MaxAge = -1 },
		"retries":            func(s *Settings) { s.Retries = -1 },
		"breaker_failures":   func(s *Settings) { s.BreakerFailures = 0 },
		"queue_requests":     func(s *Settings) { s.QueueRequests = 0 },
		"queue_bytes":        func(s *Settings) { s.QueueBytes = 0 },
	}
	for field, spoil := range cases {
		s := DefaultSettings()
		spoil(&s)
		var se *SettingError
		if err := s.Validate(); !asSettingError(err, &se) || se.Field != field {
			t.Errorf("%s: got %v", field, err)
		}
	}
	if err := DefaultSettings().Validate(); err != nil {
		t.Errorf("defaults: %v", err)
	}
}
