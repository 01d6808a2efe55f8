// Package sweep sends the same prompts at every batch setting and measures the answers.
//
// Read plan.go first. A Plan lists the settings and says when conversations begin (arrival.go).
// Schedule (sweep.go) runs a plan in random order and can resume one that was cut short. Search
// (search.go) looks for the largest rate that keeps an objective. Sweep measures one pass: it sends
// all prompts in a closed or an open loop (send.go) and turns the samples into a report.Run
// (measure.go). Only answers received in full count.
//
// The package does not interpret the figures: package report/figures does.
package sweep

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"paceline/batcher"
	"paceline/loadgen/report"
	"paceline/loadgen/stats"
	"paceline/loadgen/target"
)

// Phase is the state of SGLang's prefix cache before a run.
type Phase string

// The phases.
const (
	Cold Phase = "cold" // just flushed
	Warm Phase = "warm" // after a run of the same prompts
)

// Plan is what a sweep measures.
type Plan struct {
	Settings    []Setting
	Phases      []Phase       // of each setting and repeat; none: Cold and Warm
	Repeats     int           // how often each setting is measured, at most
	Concurrency int           // callers of the closed loop, the same at every setting
	Arrival     Arrival       // when conversations begin; the zero value is the closed loop
	Timeout     time.Duration // of one request
	Seed        uint64        // of the order of the settings

	// StopWhen ends a setting's repeats once its throughput is known well enough; see
	// enough. 0: never.
	StopWhen float64
}

// Validate names the flag whose value is out of range.
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
		return fmt.Errorf("-stop-when: looks at throughput, which arrivals decide in an open loop: give it without -rate and -trace")
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

// phases returns the phases of each cell, cold first because it fills the cache for warm.
func (p Plan) phases() []Phase {
	if len(p.Phases) == 0 {
		return []Phase{Cold, Warm}
	}
	sorted := slices.Clone(p.Phases)
	slices.Sort(sorted) // "cold" sorts before "warm"
	return sorted
}

// Passes returns the maximum number of passes of the plan.
func (p Plan) Passes() int { return len(p.Settings) * p.Repeats * len(p.phases()) }

// cell is one setting in one repeat: a cold run and the warm run after it. A cell counts only if
// all its runs were measured.
type cell struct {
	setting Setting
	repeat  int // from 1
}

// order lists the cells repeat by repeat. The settings of a repeat are in random order, so that no
// setting alone suffers from a drift of the machine.
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

// ValidateFor returns an error, which names a flag, if the plan leaves none of the prompts to measure.
func (p Plan) ValidateFor(prompts []target.Prompt) error {
	if !p.Arrival.Open() || p.Arrival.WarmUp == 0 {
		return nil
	}
	for repeat := range p.Repeats {
		all := p.Arrival.schedule(prompts, conversations(prompts), p.arrivalSeed(repeat+1))
		if last := all[len(all)-1].after; last < p.Arrival.WarmUp {
			return fmt.Errorf("-warm-up: leaves nothing to measure: the last of %d conversations is due after %v",
				len(all), last.Round(time.Millisecond))
		}
	}
	return nil
}

// arrivalSeed is the seed of a repeat's arrivals.
func (p Plan) arrivalSeed(repeat int) uint64 { return p.Seed + uint64(repeat)<<32 }

// Setting is one way of sending that the sweep compares.
type Setting struct {
	Mode      Mode
	BatchSize int // for ModeFixed; 0 otherwise

	MaxInFlight int           // batches at SGLang at once; for ModeFixed
	MaxWait     time.Duration // longest wait for a batch to fill; for ModeFixed
	Order       Order         // of release of waiting requests; "": the mode's own

	varied string // the part of the name after the size: what else the plan varies
}

// Mode is how a setting sends.
type Mode string

// The modes.
const (
	ModeFixed     Mode = "fixed"     // through the proxy, in batches of a set size
	ModeDefaults  Mode = "defaults"  // through the proxy, with its own defaults
	ModeUnbatched Mode = "unbatched" // through the proxy, each alone: no waiting, no in-flight cap
	ModeDirect    Mode = "direct"    // straight to SGLang, without a proxy
)

// Order is the order in which the proxy releases waiting requests.
type Order string

// The orders.
const (
	FIFO   Order = "fifo"   // as they came
	Prefix Order = "prefix" // depth first along shared prefixes, a group's leader before the rest
)

// Name returns the setting's name in tables: the mode, or the size with what else the plan varies
// ("16, 4 in flight, 0s").
func (s Setting) Name() string {
	if s.Mode == ModeFixed {
		return strconv.Itoa(s.BatchSize) + s.varied
	}
	return string(s.Mode)
}

// describe writes into a run what a fixed setting may vary besides the size.
func (s Setting) describe(run *report.Run) {
	if s.Mode == ModeFixed {
		wait := s.MaxWait.Seconds()
		run.MaxInFlight, run.MaxWaitSeconds, run.Order = s.MaxInFlight, &wait, string(s.Order)
	}
}

// Multiply returns a fixed setting for each combination of the values. Each list must hold at least
// one value; duplicates count once.
func Multiply(sizes, inFlight []int, waits []time.Duration, orders []Order) (all []Setting) {
	sizes, inFlight, waits, orders = Distinct(sizes), Distinct(inFlight), Distinct(waits), Distinct(orders)
	for _, size := range sizes {
		for _, n := range inFlight {
			for _, wait := range waits {
				for _, order := range orders {
					s := Setting{Mode: ModeFixed, BatchSize: size, MaxInFlight: n, MaxWait: wait, Order: order}
					s.varied = onlyIf(len(inFlight) > 1, fmt.Sprintf(", %d in flight", n)) +
						onlyIf(len(waits) > 1, ", "+wait.String()) + onlyIf(len(orders) > 1, ", "+string(order))
					all = append(all, s)
				}
			}
		}
	}
	return all
}

func onlyIf(condition bool, text string) string {
	if condition {
		return text
	}
	return ""
}

// Distinct returns the values without repetitions, in their order.
func Distinct[T comparable](values []T) (kept []T) {
	for _, v := range values {
		if !slices.Contains(kept, v) {
			kept = append(kept, v)
		}
	}
	return kept
}

// validate names the flag whose value is out of range.
func (s Setting) validate() error {
	if s.Mode != ModeFixed {
		return nil
	}
	switch {
	case s.BatchSize < 1 || s.BatchSize > batcher.MaxBatchSize:
		return fmt.Errorf("-sizes: a batch size must be from 1 to %d, got %d", batcher.MaxBatchSize, s.BatchSize)
	case s.MaxInFlight < 1 || s.MaxInFlight > batcher.MaxInFlightLimit:
		return fmt.Errorf("-max-in-flight: must be from 1 to %d, got %d", batcher.MaxInFlightLimit, s.MaxInFlight)
	case s.MaxWait < 0 || s.MaxWait > batcher.MaxWaitLimit:
		return fmt.Errorf("-max-wait: must be from 0s to %v, got %v", batcher.MaxWaitLimit, s.MaxWait)
	case s.Order != FIFO && s.Order != Prefix:
		return fmt.Errorf("-order: must be %s or %s, got %q", FIFO, Prefix, s.Order)
	}
	return nil
}
