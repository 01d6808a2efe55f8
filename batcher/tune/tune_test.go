package tune

import (
	"math"
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
