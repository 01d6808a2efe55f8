package sweep

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"paceline/loadgen/target"
)

// slow answers after a time that the prompt names.
type slow struct{}

func (slow) Send(ctx context.Context, p target.Prompt) (target.Answer, error) {
	select {
	case <-time.After(p.Pause):
		return target.Answer{}, nil
	case <-ctx.Done():
		return target.Answer{}, ctx.Err()
	}
}

func (slow) Cause(error) string { return "" }

func TestTheLiveLineKnowsWhatIsInFlightAndHowLongAnswersTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &RunProgress{Speed: 2, Total: 4}
		if _, _, ok := r.Latency(); ok {
			t.Error("a latency before the first answer")
		}
		to := watched{slow{}, r}
		ctx, cancel := context.WithCancel(t.Context())
		for _, d := range []time.Duration{time.Second, time.Second, 3 * time.Second, time.Hour} {
			go func() {
				_, err := to.Send(ctx, target.Prompt{Pause: d})
				r.ended(err)
			}()
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if r.InFlight() != 2 || r.Share() != 0.5 {
			t.Errorf("%d in flight, %v done", r.InFlight(), r.Share())
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		p50, p99, ok := r.Latency()
		if !ok || p50 != 2 || math.Abs(p99-5.92) > 1e-9 { // on a clock of twice the speed
			t.Errorf("%v and %v, %v", p50, p99, ok)
		}
		cancel()
		synctest.Wait()
		if r.InFlight() != 0 || r.Failed() != 1 || r.Share() != 1 {
			t.Errorf("%d in flight, %d failed", r.InFlight(), r.Failed())
		}
	})
}

func TestOnlyTheLastAnswersCountForTheLiveLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &RunProgress{Speed: 1}
		to := watched{slow{}, r}
		for i := range 2 * recent {
			pause := time.Hour
			if i >= recent {
				pause = time.Second
			}
			if _, err := to.Send(t.Context(), target.Prompt{ID: fmt.Sprint(i), Pause: pause}); err != nil {
				t.Fatal(err)
			}
		}
		if p50, p99, _ := r.Latency(); p50 != 1 || p99 != 1 {
			t.Errorf("%v and %v", p50, p99)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if _, err := to.Send(ended, target.Prompt{Pause: time.Second}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestLiveThroughputIsInSecondsOfTheReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &RunProgress{Started: time.Now(), Speed: 3}
		for range 60 {
			r.ended(nil)
		}
		r.ended(errors.New("failed"))
		time.Sleep(time.Second)
		if got := r.Throughput(); got != 20 || r.Failed() != 1 {
			t.Errorf("%v/s and %d failed, want 20/s of simulated seconds and 1", got, r.Failed())
		}
	})
}
