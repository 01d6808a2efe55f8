// Package sweep sends the same prompts at every batch setting and measures.
//
// A sweep is a plan (plan.go) of runs in random order; a run is one pass of all
// prompts, in a closed loop (pass.go) or an open one (arrival.go, open.go); what it measured becomes a report.Run
// (measure.go). Only answers received in full count.
//
// The package never decides what the figures mean: that is package report's
// work.
package sweep

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"paceline/batcher"
)

// Setting is one way of sending that the sweep compares.
type Setting struct {
	Mode      Mode
	BatchSize int // for ModeFixed; 0 otherwise
}

// Mode is how a setting sends.
type Mode string

// The modes.
const (
	ModeFixed     Mode = "fixed"     // through the proxy, in batches of a set size
	ModeAuto      Mode = "auto"      // through the proxy, which chooses size and batches in flight
	ModeUnbatched Mode = "unbatched" // through the proxy, each alone: no waiting, no in-flight cap
	ModeDirect    Mode = "direct"    // straight to SGLang, without a proxy
)

// Name is the setting's name in tables: the size, or the mode.
func (s Setting) Name() string {
	if s.Mode == ModeFixed {
		return strconv.Itoa(s.BatchSize)
	}
	return string(s.Mode)
}

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
	Settings    []Setting
	Repeats     int           // how often each setting is measured
	Concurrency int           // callers of the closed loop, the same at every setting
	MaxInFlight int           // batches at SGLang at once, the same at every fixed setting
	MaxWait     time.Duration // longest wait for a batch to fill
	Arrival     Arrival       // when conversations begin; the zero value is the closed loop
	Timeout     time.Duration // of one request
	Seed        uint64        // of the order of the settings
	Speed       float64       // seconds of the report per real second: 1 for a real server
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
	case p.MaxInFlight < 1 || p.MaxInFlight > batcher.MostInFlight:
		return fmt.Errorf("-max-in-flight: must be from 1 to %d, got %d", batcher.MostInFlight, p.MaxInFlight)
	case p.MaxWait < 0 || p.MaxWait > batcher.LongestMaxWait:
		return fmt.Errorf("-max-wait: must be from 0s to %v, got %v", batcher.LongestMaxWait, p.MaxWait)
	case p.Timeout <= 0:
		return fmt.Errorf("-timeout: must be above 0, got %v", p.Timeout)
	}
	if err := p.Arrival.Validate(); err != nil {
		return err
	}
	for _, s := range p.Settings {
		if s.Mode == ModeFixed && (s.BatchSize < 1 || s.BatchSize > batcher.MaxBatchSize) {
			return fmt.Errorf("-sizes: a batch size must be from 1 to %d, got %d", batcher.MaxBatchSize, s.BatchSize)
		}
	}
	return nil
}

// cell is one setting in one repeat: a cold run and the warm run after it.
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
