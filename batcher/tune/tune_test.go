package tune

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// learned returns a meter of a server that takes 10 ms a batch, 5 ms a prompt and
// 1 ms for 10 tokens, after so many batches of varying size, one at a time.
func learned(batches int, perBatch, perPrompt, perToken float64) *Meter {
	m, now := new(Meter), time.Unix(1000, 0)
	for i := range batches {
		prompts := 1 + i*5%16
		tokens := float64(prompts * (100 + 37*i%300))
		own, _ := m.Sent(prompts, tokens, 0, now)
		a := Account{Prompts: prompts, Tokens: tokens, Uncached: tokens, Predicted: own, Released: now, Clean: true}
		now = now.Add(seconds(perBatch + perPrompt*float64(prompts) + perToken*tokens))
		m.Ended(a, 0, now)
	}
	return m
}

func TestMeterLearnsWhatTheServerTakes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		perBatch := rapid.Float64Range(0.001, 0.05).Draw(t, "batch")
		perPrompt := rapid.Float64Range(0.001, 0.02).Draw(t, "prompt")
		perToken := rapid.Float64Range(1e-5, 1e-3).Draw(t, "token")
		m := learned(100, perBatch, perPrompt, perToken)
		for _, prompts := range []int{1, 4, 16} {
			want := perBatch + perPrompt*float64(prompts) + perToken*200*float64(prompts)
			if got := m.Cost.Predict(prompts, 200*float64(prompts)).Seconds(); math.Abs(got-want) > 0.02*want {
				t.Errorf("%d prompts: predicted %v s, want %v s", prompts, got, want)
			}
		}
	})
}

func TestFailedBatchesTeachNothing(t *testing.T) {
	m, now := learned(30, 0.01, 0.005, 0.0001), time.Unix(5000, 0)
	before := m.Cost
	m.Sent(4, 400, 0, now)
	m.Ended(Account{Prompts: 4, Released: now}, 0, now.Add(time.Minute))
	if m.Cost != before {
		t.Errorf("%+v, was %+v", m.Cost, before)
	}
}

func TestAutoChoosesSizeAndWait(t *testing.T) {
	cheap := learned(30, 0.001, 0.020, 0.0001) // 5 prompts carry the batch's fixed cost
	dear := learned(30, 1, 0.001, 0.00001)
	cases := []struct {
		name              string
		meter             *Meter
		waiting, inFlight int
		size              int
		wait              time.Duration
		why               string
	}{
		{"a lone request is a batch", new(Meter), 1, 0, 1, maxWait, "nothing learned"},
		{"requests are shared among the slots and the next batch", new(Meter), 30, 60, 10, maxWait, "shared among"},
		{"no more than carry the fixed cost, but enough", cheap, 30, 120, minEnough, maxWait, "carry a batch's fixed cost"},
		{"no more than gain anything", dear, 300, 600, maxSize, 0, "the largest"},
		{"nobody waits longer than its prompt takes", dear, 1, 0, 1, 0, "a batch costs 1000"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var a Auto
			size, wait := a.Choose(c.waiting, c.inFlight, c.meter)
			if size != c.size || c.wait > 0 && wait != c.wait || c.wait == 0 && wait >= maxWait {
				t.Errorf("%d requests, %v", size, wait)
			}
			if p := a.Plan(c.meter.Cost); !strings.Contains(p.Why, c.why) || p.BatchSize != size || p.MaxInFlight != InFlight {
				t.Errorf("%+v", p)
			}
		})
	}
}

func TestAutoCountsThoseWhoAreAboutToComeBack(t *testing.T) {
	var a Auto
	a.Choose(0, 90, new(Meter))
	for range window {
		a.Ended()
	}
	if size, _ := a.Choose(1, 1, new(Meter)); size != 10 {
		t.Errorf("%d, want a ninth of the ninety that were here", size)
	}
	for range window {
		a.Ended()
	}
	if size, _ := a.Choose(1, 1, new(Meter)); size != 1 {
		t.Errorf("%d after they stayed away, want 1", size)
	}
}
