package sweep

import (
	"context"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"paceline/loadgen/report"
	"paceline/loadgen/target"
)

// oneSlot is a server that works on one prompt at a time, in the order in which they
// came, each for a fixed time. From the stall on it does nothing for a while.
type oneSlot struct {
	takes       time.Duration
	stall, lull time.Duration // when, from the first prompt, and how long; none for 0

	mu   sync.Mutex
	free time.Time // when what it has is done
	from time.Time // the first prompt came
}

func (s *oneSlot) Send(ctx context.Context, _ target.Prompt) (target.Answer, error) {
	s.mu.Lock()
	now := time.Now()
	if s.from.IsZero() {
		s.from = now
	}
	begin := now
	if s.free.After(now) {
		begin = s.free
	}
	if at := s.from.Add(s.stall); s.lull > 0 && !begin.Before(at) && begin.Before(at.Add(s.lull)) {
		begin = at.Add(s.lull)
	}
	s.free = begin.Add(s.takes)
	done := s.free
	s.mu.Unlock()
	if !pause(ctx, done.Sub(now)) {
		return target.Answer{}, ctx.Err()
	}
	return target.Answer{PromptTokens: 1}, nil
}

// In a queue with Poisson arrivals, a fixed service time D and one server (M/D/1) the
// mean wait is ρD/2(1−ρ), and the share that waits at most t is Erlang's sum. Seeded
// and on a virtual clock, the errors below are those of 60,000 arrivals alone.
func TestAnOpenLoopAtAServerWithFixedTimesIsTheQueueOfTheory(t *testing.T) {
	if testing.Short() {
		t.Skip("sends 120,000 requests")
	}
	const takes = 10 * time.Millisecond
	d := takes.Seconds()
	for _, busy := range []float64{0.4, 0.8} {
		var run report.Run
		synctest.Test(t, func(t *testing.T) {
			run, _ = offer(t, &oneSlot{takes: takes}, prompts(60_000), open(Poisson, busy/d))
		})
		l := run.Arrivals.LatencyFromIntended
		wait, theory := l.Mean-d, busy*d/(2*(1-busy))
		t.Logf("busy %.2f: mean wait %.4f ms, by theory %.4f ms (%+.1f %%)", busy, 1e3*wait, 1e3*theory, 100*(wait/theory-1))
		if math.Abs(wait/theory-1) > 0.05 {
			t.Errorf("busy %v: mean wait %v s, by theory %v s", busy, wait, theory)
		}
		for _, q := range []struct{ share, wait float64 }{{0.5, l.P50 - d}, {0.9, l.P90 - d}, {0.95, l.P95 - d}, {0.99, l.P99 - d}} {
			got := waitsAtMost(q.wait, d, busy)
			if q.wait < 1e-9 { // more than this share do not wait at all
				if 1-busy < q.share-0.01 {
					t.Errorf("busy %v: P%.0f does not wait, but only %v ought to", busy, 100*q.share, 1-busy)
				}
				continue
			}
			t.Logf("busy %.2f: P%.0f waits %.4f ms; by theory %.4f wait at most that", busy, 100*q.share, 1e3*q.wait, got)
			if math.Abs(got-q.share) > 0.01 {
				t.Errorf("busy %v: by theory %v wait at most %v s, measured %v", busy, got, q.wait, q.share)
			}
		}
		if math.Abs(run.RequestThroughput*d/busy-1) > 0.01 || run.Latency != l || run.Arrivals.SendDelay.Max != 0 {
			t.Errorf("busy %v: %+v", busy, run)
		}
	}
}

// waitsAtMost is the share of an M/D/1 queue's customers that wait at most t: with
// λ = ρ/D it is (1−ρ) Σ (λ(kD−t))^k/k! · e^−λ(kD−t) for k from 0 to t/D.
func waitsAtMost(t, d, busy float64) float64 {
	sum := 0.0
	for k := 0; float64(k)*d <= t; k++ {
		x := busy / d * (float64(k)*d - t)
		term := math.Exp(-x)
		for i := 1; i <= k; i++ {
			term *= x / float64(i)
		}
		sum += term
	}
	return (1 - busy) * sum
}

func TestAClosedLoopSendsAsManyAsItsCallersOverTheServiceTime(t *testing.T) {
	for _, callers := range []int{1, 7, 64} {
		synctest.Test(t, func(t *testing.T) {
			list := prompts(40 * callers)
			samples, wall := pass(t.Context(), &server{takes: 250 * time.Millisecond}, list, closed(callers, time.Minute), new(RunProgress))
			run := measurement{prompts: list, samples: samples, wall: wall}.report()
			if want := 4 * float64(callers); run.RequestThroughput != want || run.Latency.Max != 0.25 {
				t.Errorf("%d callers: %v/s, want %v: %+v", callers, run.RequestThroughput, want, run.Latency)
			}
		})
	}
}

// A server that takes 1 ms stalls for a second among 100 requests/s for ten. Who may
// have only one request under way and counts from the send sees one slow request of a
// thousand. Whoever had a request due meanwhile waited, too.
func TestAStallShowsInLatencyFromWhenDueAndHidesFromThatFromTheSend(t *testing.T) {
	stalling := func() *oneSlot {
		return &oneSlot{takes: time.Millisecond, stall: 5 * time.Second, lull: time.Second}
	}
	near := func(got, want float64) bool { return math.Abs(got-want) < 1e-6 }
	synctest.Test(t, func(t *testing.T) {
		a := open(Constant, 100)
		a.MaxOutstanding, a.WhenFull = 1, Wait
		run, _ := offer(t, stalling(), prompts(1000), a)
		due := run.Arrivals.LatencyFromIntended
		if !near(run.Latency.P99, 0.001) || !near(run.Latency.Max, 1.001) {
			t.Errorf("from the send: %+v", run.Latency)
		}
		// The i-th request due after the stall began waits 1 s − 9i ms for it and for
		// those before it. 111 requests wait; the tenth longest wait, P99, is 0.911 s.
		if due.P99 < 0.9 || due.P99 > 0.93 || !near(due.Max, 1.001) || run.Arrivals.Late < 105 || run.Arrivals.Late > 112 {
			t.Errorf("from when due: %+v, %d late", due, run.Arrivals.Late)
		}
	})
	synctest.Test(t, func(t *testing.T) { // with room for all, both latencies show it
		run, _ := offer(t, stalling(), prompts(1000), open(Constant, 100))
		if run.Latency.P99 < 0.9 || run.Latency != run.Arrivals.LatencyFromIntended || run.Arrivals.Late != 0 {
			t.Errorf("%+v, %+v", run.Latency, run.Arrivals)
		}
	})
	synctest.Test(t, func(t *testing.T) { // a closed loop asks nothing meanwhile, and omits it
		list := prompts(1000)
		s := &oneSlot{takes: time.Millisecond, stall: 500 * time.Millisecond, lull: time.Second}
		samples, wall := pass(t.Context(), s, list, closed(1, time.Minute), new(RunProgress))
		run := measurement{prompts: list, samples: samples, wall: wall}.report()
		if !near(run.Latency.P99, 0.001) || !near(run.Latency.Max, 1.001) || run.Arrivals.LatencyFromIntended != run.Latency {
			t.Errorf("closed loop: %+v, %+v", run.Latency, run.Arrivals)
		}
	})
}
