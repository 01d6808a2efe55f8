// Package sweep sends the same prompts at every batch setting and measures.
//
// A sweep is a plan (plan.go) of settings (setting.go), whose passes are worked
// through in random order (schedule.go), also where an earlier sweep was cut short
// (journal.go). What measures one pass is a Runner: Sweep (sweep.go) here, or other
// processes. A pass sends all prompts in a closed loop (pass.go) or an open one
// (arrival.go, open.go); what it measured becomes a report.Run (measure.go). Only
// answers received in full count.
//
// The package never decides what the figures mean: that is package report's
// work.
package sweep

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"paceline/loadgen/stats"
)

// Phase is the state of SGLang's prefix cache before a run.
type Phase string

// The phases.
const (
	Cold Phase = "cold" // just flushed
	Warm Phase = "warm" // after a run of the same prompts
)

// Plan is what a sweep does. All its times are those of the report: simulated
// seconds when Speed is above 1.
type Plan struct {
	Settings    []Setting     // as Multiply and those that have no dimensions make them
	Phases      []Phase       // of each setting and repeat, in this order; none: Cold and Warm
	Repeats     int           // how often each setting is measured, at most
	Concurrency int           // callers of the closed loop, the same at every setting
	Arrival     Arrival       // when conversations begin; the zero value is the closed loop
	Timeout     time.Duration // of one request
	Seed        uint64        // of the order of the settings
	Speed       float64       // seconds of the report per real second: 1 for a real server

	// StopWhen ends a setting's repeats once its throughput is known well enough; see
	// enough. 0 never does.
	StopWhen float64
}

// Validate names what is out of range, by its flag.
func (p Plan) Validate() error {
	switch {
	case len(p.Settings) == 0:
		return fmt.Errorf("-sizes: names no setting to measure")
	case p.Repeats < 1:
		return fmt.Errorf("-repeats: must be at least 1, got %d", p.Repeats)
	case p.Concurrency < 1:
		return fmt.Errorf("-concurrency: must be at least 1, got %d", p.Concurrency)
	case p.Timeout <= 0:
		return fmt.Errorf("-timeout: must be above 0, got %v", p.Timeout)
	case !(p.StopWhen >= 0) || p.StopWhen >= 1:
		return fmt.Errorf("-stop-when: must be a share below 100%%, such as 2%%, got %v", p.StopWhen)
	case p.StopWhen > 0 && p.Arrival.Open():
		return fmt.Errorf("-stop-when: looks at throughput, which an open loop's arrivals decide: give it without -rate and -trace")
	case p.StopWhen > 0 && p.Repeats < stats.MinForInterval:
		return fmt.Errorf("-stop-when: an interval needs %d repeats, and -repeats allows %d", stats.MinForInterval, p.Repeats)
	}
	for i, phase := range p.Phases {
		if phase != Cold && phase != Warm {
			return fmt.Errorf("-phases: must name cold, warm or both, got %q", phase)
		}
		if slices.Contains(p.Phases[:i], phase) {
			return fmt.Errorf("-phases: names %s twice", phase)
		}
	}
	if err := p.Arrival.Validate(); err != nil {
		return err
	}
	for _, s := range p.Settings {
		if err := s.validate(); err != nil {
			return err
		}
	}
	return nil
}

// phases are those of each cell: cold first, because warm is what it leaves.
func (p Plan) phases() []Phase {
	if len(p.Phases) == 0 {
		return []Phase{Cold, Warm}
	}
	sorted := slices.Clone(p.Phases)
	slices.Sort(sorted) // as their names are
	return sorted
}

// Passes is how many passes the plan has, at most.
func (p Plan) Passes() int { return len(p.Settings) * p.Repeats * len(p.phases()) }

// cell is one setting in one repeat: a cold run and the warm run after it. It is
// measured whole or not at all.
type cell struct {
	setting Setting
	repeat  int // from 1
}

// order lists the cells: repeat by repeat, the settings of each in an order of
// their own, so that a drift of the machine falls on no setting alone.
func (p Plan) order() []cell {
	rng := rand.New(rand.NewPCG(p.Seed, 0))
	var cells []cell
	for r := range p.Repeats {
		for _, i := range rng.Perm(len(p.Settings)) {
			cells = append(cells, cell{p.Settings[i], r + 1})
		}
	}
	return cells
}

// real turns a time of the report into one of this machine's clock.
func (p Plan) real(d time.Duration) time.Duration {
	return time.Duration(float64(d) / p.Speed)
}
