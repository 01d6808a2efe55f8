package sweep

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"paceline/loadgen/target"
)

func TestMain(m *testing.M) {
	if os.Getenv(serveVariable) == "1" {
		serveAsChild()
	}
	goleak.VerifyTestMain(m)
}

// server is a target.Sender that takes a fixed time for each prompt.
type server struct {
	takes     time.Duration
	fail      func(id string) error
	now, peak atomic.Int64
	mu        sync.Mutex
	seen      map[string]int
}

func (s *server) Send(ctx context.Context, p target.Prompt) (target.Answer, error) {
	s.mu.Lock()
	if s.seen == nil {
		s.seen = map[string]int{}
	}
	s.seen[p.ID]++
	s.mu.Unlock()
	if now := s.now.Add(1); now > s.peak.Load() {
		s.peak.Store(now)
	}
	defer s.now.Add(-1)
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		return target.Answer{}, ctx.Err()
	}
	if s.fail != nil {
		if err := s.fail(p.ID); err != nil {
			return target.Answer{}, err
		}
	}
	return target.Answer{
		PromptTokens: 10, CachedTokens: 4,
		BatchID: "b" + p.ID[:1], BatchSize: 2, ReleaseReason: "full", QueueWait: time.Millisecond,
	}, nil
}

// closed is a closed loop.
func closed(callers int, timeout time.Duration) Plan {
	return Plan{Concurrency: callers, Timeout: timeout}
}

func prompts(n int) []target.Prompt {
	out := make([]target.Prompt, n)
	for i := range out {
		out[i].ID, out[i].Text = fmt.Sprint(i), "ten or more tokens"
	}
	return out
}

func TestPassKeepsExactlyTheSetConcurrencyAndSendsEachPromptOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{takes: time.Second}
		samples, wall := pass(t.Context(), s, prompts(10), closed(4, time.Minute), new(RunProgress))
		if s.peak.Load() != 4 || wall != 3*time.Second {
			t.Errorf("%d at once for %v, want 4 for 3s", s.peak.Load(), wall)
		}
		if len(s.seen) != 10 || len(samples) != 10 {
			t.Errorf("%d prompts sent, %d samples", len(s.seen), len(samples))
		}
		for id, n := range s.seen {
			if n != 1 {
				t.Errorf("prompt %s was sent %d times", id, n)
			}
		}
		for _, one := range samples {
			if !one.sent || one.err != nil || one.latency != time.Second {
				t.Errorf("got %+v", one)
			}
		}
	})
}

func TestPassWaitsForEveryAnswerBeforeItStopsTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, wall := pass(t.Context(), &server{takes: 7 * time.Second}, prompts(3), closed(64, time.Minute), new(RunProgress))
		if wall != 7*time.Second {
			t.Errorf("the clock stopped at %v, the answers came at 7s", wall)
		}
	})
}

func TestInterruptedPassLeavesTheRestUnsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		samples, _ := pass(ctx, &server{takes: time.Second}, prompts(10), closed(2, time.Minute), new(RunProgress))
		var sent, answered int
		for _, one := range samples {
			if one.sent {
				sent++
				if one.err == nil {
					answered++
				}
			}
		}
		if sent != 4 || answered != 2 {
			t.Errorf("%d sent and %d answered, want 4 and 2", sent, answered)
		}
	})
}

func TestRunCutMidwayIsMarkedThoughItsRequestsAllEnded(t *testing.T) {
	failed := sample{sent: true, err: context.Canceled}
	done := sample{sent: true, answer: target.Answer{PromptTokens: 1}}
	run := measurement{prompts: prompts(2), samples: []sample{done, failed}, interrupted: true}.report()
	if !run.Interrupted || run.Complete {
		t.Errorf("cut: %+v", run)
	}
	run = measurement{prompts: prompts(2), samples: []sample{done, done}, interrupted: true}.report()
	if run.Interrupted || !run.Complete {
		t.Errorf("ended before the signal: %+v", run)
	}
}

func TestRequestBeyondItsTimeoutFailsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		samples, wall := pass(t.Context(), &server{takes: time.Hour}, prompts(1), closed(1, time.Second), new(RunProgress))
		if !errors.Is(samples[0].err, context.DeadlineExceeded) || wall != time.Second {
			t.Errorf("got %v after %v", samples[0].err, wall)
		}
	})
}

func TestOnlyAnswersReceivedInFullAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		s := &server{takes: time.Second, fail: func(id string) error {
			if id == "3" {
				return broken
			}
			return nil
		}}
		samples, wall := pass(t.Context(), s, prompts(4), closed(2, time.Minute), new(RunProgress))
		run := measurement{
			setting: Setting{Mode: ModeFixed, BatchSize: 2}, phase: Cold, repeat: 1, prompts: prompts(4),
			samples: samples, wall: wall,
		}.report()
		if run.Total != 4 || run.Completed != 3 || run.Failed != 1 || run.Complete {
			t.Errorf("got %+v", run)
		}
		if run.PromptTokens != 30 || run.CachedTokens != 12 || run.Batches != 3 || run.EffectiveBatchSize != 2 {
			t.Errorf("got %+v", run)
		}
		if run.WallSeconds != 2 || run.RequestThroughput != 1.5 || run.InputTokenThroughput != 15 {
			t.Errorf("got %+v", run)
		}
	})
}

func TestOrderHoldsEverySettingOnceInEachRepeat(t *testing.T) {
	p := Plan{
		Settings: []Setting{{Mode: ModeFixed, BatchSize: 1}, {Mode: ModeFixed, BatchSize: 2}, {Mode: ModeUnbatched}},
		Repeats:  4,
		Seed:     7,
	}
	cells := p.order()
	if len(cells) != 12 {
		t.Fatalf("%d cells", len(cells))
	}
	for r := range 4 {
		seen := map[Setting]bool{}
		for _, c := range cells[3*r : 3*r+3] {
			seen[c.setting] = true
			if c.repeat != r+1 {
				t.Errorf("repeat %d holds a cell of repeat %d", r+1, c.repeat)
			}
		}
		if len(seen) != 3 {
			t.Errorf("repeat %d measures %v", r+1, seen)
		}
	}
}
