package sweep

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"paceline/loadgen/stats"
	"paceline/loadgen/target"
)

// recent is how many of the last answers' latencies are kept for the live line.
const recent = 512

// watch is what a run's requests are doing now. It takes no lock: it must not slow
// what it watches.
type watch struct {
	inFlight atomic.Int64
	answers  atomic.Int64
	latency  [recent]atomic.Int64 // of the last answers, in nanoseconds of real time
}

// watched sends through to, and tells w.
type watched struct {
	target.Sender
	w *watch
}

// Send sends one prompt and waits for its answer.
func (s watched) Send(ctx context.Context, p target.Prompt) (target.Answer, error) {
	s.w.inFlight.Add(1)
	defer s.w.inFlight.Add(-1)
	start := time.Now()
	answer, err := s.Sender.Send(ctx, p)
	if err == nil {
		s.w.latency[(s.w.answers.Add(1)-1)%recent].Store(int64(time.Since(start)))
	}
	return answer, err
}

// InFlight is how many requests wait for their answers.
func (r *RunProgress) InFlight() int { return int(r.watch.inFlight.Load()) }

// Latency is the median and the 99th percentile of the last answers, in seconds of
// the report; ok is false before the first.
func (r *RunProgress) Latency() (p50, p99 float64, ok bool) {
	n := min(int(r.watch.answers.Load()), recent)
	var last []float64
	for i := range n {
		if v := r.watch.latency[i].Load(); v > 0 { // else about to be stored
			last = append(last, time.Duration(v).Seconds()*r.Speed)
		}
	}
	if len(last) == 0 {
		return 0, 0, false
	}
	slices.Sort(last)
	return stats.Percentile(last, 50), stats.Percentile(last, 99), true
}

// Share is how much of the run is done, from 0 to 1.
func (r *RunProgress) Share() float64 {
	if r.Total <= 0 {
		return 0
	}
	return min(1, float64(r.Answered()+r.Failed())/float64(r.Total))
}
