package sweep

import (
	"sync/atomic"
	"time"
)

// Progress is where a sweep is. It is written by the sweep and may be read at
// any time from any goroutine.
type Progress struct {
	run atomic.Pointer[RunProgress]
}

// RunProgress is where one run is.
type RunProgress struct {
	Setting Setting
	Phase   Phase
	Repeat  int
	Number  int // of this run in the sweep, from 1
	Of      int // runs in the sweep
	Total   int // prompts in this run
	Started time.Time
	Speed   float64 // seconds of the report per real second

	answered, failed atomic.Int64
	watch            watch
}

// Answered is how many prompts have been answered.
func (r *RunProgress) Answered() int { return int(r.answered.Load()) }

// Failed is how many prompts have failed.
func (r *RunProgress) Failed() int { return int(r.failed.Load()) }

// Run returns the run at work, or nil before the first.
func (p *Progress) Run() *RunProgress { return p.run.Load() }

// Throughput is the answers so far per second of the report.
func (r *RunProgress) Throughput() float64 {
	return float64(r.Answered()) / (time.Since(r.Started).Seconds() * r.Speed)
}

func (r *RunProgress) ended(err error) {
	if err != nil {
		r.failed.Add(1)
		return
	}
	r.answered.Add(1)
}
