package sweep

import (
	"context"
	"errors"
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

func TestTheLiveLineKnowsWhatIsInFlightAndHowLongAnswersTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &RunProgress{Total: 4}
		if _, _, ok := r.Latency(); ok {
			t.Error("a latency before the first answer")
		}
		ctx, cancel := context.WithCancel(t.Context())
		list := []target.Prompt{{Pause: time.Second}, {Pause: time.Second}, {Pause: 3 * time.Second}, {Pause: time.Hour}}
		to := newTraffic(slow{}, list, closed(1, 5*time.Hour), r)
		for k := range list {
			go to.send(ctx, k, due{})
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if r.InFlight() != 2 || r.Share() != 0.5 {
			t.Errorf("%d in flight, %v done", r.InFlight(), r.Share())
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		p50, p99, ok := r.Latency()
		if !ok || p50 != 1 || math.Abs(p99-2.96) > 1e-9 {
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
		r := &RunProgress{}
		list := []target.Prompt{{Pause: time.Hour}, {Pause: time.Second}}
		to := newTraffic(slow{}, list, closed(1, 2*time.Hour), r)
		for i := range 2 * recent {
			to.send(t.Context(), i/recent, due{})
		}
		if p50, p99, _ := r.Latency(); p50 != 1 || p99 != 1 {
			t.Errorf("%v and %v", p50, p99)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if to.send(ended, 0, due{}); !errors.Is(to.samples[0].err, context.Canceled) || r.Failed() != 1 {
			t.Errorf("%+v", to.samples[0])
		}
	})
}

func TestTheLiveLineCountsWhatWasAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &RunProgress{Started: time.Now()}
		for range 60 {
			r.ended(time.Second, nil)
		}
		r.ended(0, errors.New("failed"))
		time.Sleep(time.Second)
		if got := r.Throughput(); got != 60 || r.Failed() != 1 {
			t.Errorf("%v/s and %d failed, want 60/s and 1", got, r.Failed())
		}
	})
}
