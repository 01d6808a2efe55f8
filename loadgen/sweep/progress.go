package sweep

import (
	"slices"
	"sync/atomic"
	"time"

	"paceline/loadgen/stats"
)

// recent is how many latencies RunProgress keeps.
const recent = 512

// RunProgress is the progress of one run. It is safe for concurrent use. It takes no lock, so that it
// does not slow the run down.
type RunProgress struct {
	Pass    Pass
	Total   int // prompts in this run
	Started time.Time

	answered, failed atomic.Int64
	inFlight         atomic.Int64
	latency          [recent]atomic.Int64 // of the last answers, in nanoseconds
}

// Answered returns how many prompts have been answered.
func (r *RunProgress) Answered() int { return int(r.answered.Load()) }

// Failed returns how many prompts have failed.
func (r *RunProgress) Failed() int { return int(r.failed.Load()) }

// InFlight returns how many requests wait for an answer.
func (r *RunProgress) InFlight() int { return int(r.inFlight.Load()) }

// Throughput returns the answers so far per second.
func (r *RunProgress) Throughput() float64 {
	return float64(r.Answered()) / time.Since(r.Started).Seconds()
}

// Share returns how much of the run is done, from 0 to 1.
func (r *RunProgress) Share() float64 {
	if r.Total <= 0 {
		return 0
	}
	return min(1, float64(r.Answered()+r.Failed())/float64(r.Total))
}

// Latency returns the median and the 99th percentile of the recent latencies, in seconds. It
// returns false before the first answer.
func (r *RunProgress) Latency() (p50, p99 float64, ok bool) {
	n := min(r.Answered(), recent)
	var last []float64
	for i := range n {
		if v := r.latency[i].Load(); v > 0 { // 0: counted, and about to be stored
			last = append(last, time.Duration(v).Seconds())
		}
	}
	if len(last) == 0 {
		return 0, 0, false
	}
	slices.Sort(last)
	return stats.Percentile(last, 50), stats.Percentile(last, 99), true
}

// ended counts a prompt that was answered after a latency, or failed.
func (r *RunProgress) ended(latency time.Duration, err error) {
	if err != nil {
		r.failed.Add(1)
		return
	}
	r.latency[(r.answered.Add(1)-1)%recent].Store(int64(latency))
}
