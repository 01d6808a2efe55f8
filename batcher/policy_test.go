package batcher

import (
	"testing"
	"time"
)

func TestPolicyDecides(t *testing.T) {
	now := time.Unix(1000, 0)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	fixed := Settings{Mode: ModeFixed, BatchSize: 4, MaxWait: 10 * time.Millisecond, MaxInFlight: 2}
	eager := fixed
	eager.MaxWait = 0
	budget := fixed
	budget.BatchTokens = 100
	unbatched := fixed
	unbatched.Mode = ModeUnbatched

	cases := []struct {
		name     string
		lanes    []laneView
		settings Settings
		inFlight int
		draining bool
		want     decision
	}{
		{"an empty queue wants nothing", nil, fixed, 0, false, decision{}},
		{"a full batch goes", []laneView{{count: 4, oldest: now}}, fixed, 0, false, decision{take: 4, reason: ReasonFull}},
		{"more than a batch goes one batch at a time", []laneView{{count: 9, oldest: now}}, fixed, 1, false, decision{take: 4, reason: ReasonFull}},
		{"a young partial batch waits for its oldest", []laneView{{count: 3, oldest: ago(4 * time.Millisecond)}}, fixed, 0, false,
			decision{wake: now.Add(6 * time.Millisecond)}},
		{"an old partial batch goes", []laneView{{count: 3, oldest: ago(10 * time.Millisecond)}}, fixed, 0, false, decision{take: 3, reason: ReasonWait}},
		{"a lane with the tokens of a batch goes", []laneView{{count: 2, tokens: 100, oldest: now}}, budget, 0, false, decision{take: 2, reason: ReasonBudget}},
		{"a lane with fewer tokens waits", []laneView{{count: 2, tokens: 99, oldest: now}}, budget, 0, false, decision{wake: now.Add(10 * time.Millisecond)}},
		{"without a free slot nothing goes and nothing wakes", []laneView{{count: 4, oldest: ago(time.Second)}}, fixed, 2, false, decision{}},
		{"without a window a free slot takes what is there", []laneView{{count: 1, oldest: now}}, eager, 1, false, decision{take: 1, reason: ReasonIdle}},
		{"without a window a full batch is called full", []laneView{{count: 5, oldest: now}}, eager, 1, false, decision{take: 4, reason: ReasonFull}},
		{"draining goes at once", []laneView{{count: 2, oldest: now}}, fixed, 0, true, decision{take: 2, reason: ReasonDrain}},
		{"draining keeps to the slots", []laneView{{count: 2, oldest: now}}, fixed, 2, true, decision{}},
		{"unbatched goes singly whatever is in flight", []laneView{{count: 3, oldest: now}}, unbatched, 99, false, decision{take: 1, reason: ReasonUnbatched}},
		{"of two lanes due the older goes first",
			[]laneView{{count: 4, oldest: ago(time.Millisecond)}, {count: 1, oldest: ago(20 * time.Millisecond)}}, fixed, 0, false,
			decision{lane: 1, take: 1, reason: ReasonWait}},
		{"a full lane does not wait for an older one",
			[]laneView{{count: 1, oldest: ago(5 * time.Millisecond)}, {count: 4, oldest: now}}, fixed, 0, false,
			decision{lane: 1, take: 4, reason: ReasonFull, wake: now.Add(5 * time.Millisecond)}},
		{"the earliest lane sets the wake-up",
			[]laneView{{count: 1, oldest: ago(time.Millisecond)}, {count: 2, oldest: ago(7 * time.Millisecond)}}, fixed, 0, false,
			decision{wake: now.Add(3 * time.Millisecond)}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := decide(c.lanes, c.settings, c.inFlight, c.draining, now); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestSettingsNameTheFieldThatIsOutOfRange(t *testing.T) {
	cases := map[string]func(*Settings){
		"mode":           func(s *Settings) { s.Mode = 9 },
		"batch_size":     func(s *Settings) { s.BatchSize = 0 },
		"batch_tokens":   func(s *Settings) { s.BatchTokens = -1 },
		"batch_bytes":    func(s *Settings) { s.BatchBytes = -1 },
		"max_wait":       func(s *Settings) { s.MaxWait = -1 },
		"max_in_flight":  func(s *Settings) { s.MaxInFlight = 0 },
		"queue_requests": func(s *Settings) { s.QueueRequests = 0 },
		"queue_bytes":    func(s *Settings) { s.QueueBytes = 0 },
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
