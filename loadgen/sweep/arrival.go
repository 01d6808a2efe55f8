package sweep

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"paceline/loadgen/target"
)

// Arrival says when conversations begin. The zero value is the closed loop: each of the plan's
// Concurrency callers begins a conversation when its last one has ended.
//
// In an open loop, conversations begin when they are due, whether or not earlier ones were answered.
// Later turns follow their answers as in the closed loop.
type Arrival struct {
	Process Process

	// Rate is in conversations per second, for Constant and Poisson. Conversations that begin
	// together (target.Prompt.Joins) count once.
	Rate       float64
	TraceSpeed float64 // for Recorded: how much faster than recorded

	MaxOutstanding int           // conversations under way at once
	WhenFull       WhenFull      // what happens to a conversation that is due beyond that
	WarmUp         time.Duration // requests due before its end are sent but not measured
	LateAfter      time.Duration // a request is late if it is sent more than this after it was due
}

// Process says how the starts of conversations are spaced.
type Process string

// The processes.
const (
	Closed   Process = ""         // each after the end of another: the closed loop
	Constant Process = "constant" // equally spaced
	Poisson  Process = "poisson"  // independent exponential gaps, as from many independent callers
	Recorded Process = "recorded" // the gaps of the trace
)

// WhenFull says what happens to a conversation that is due while MaxOutstanding are under way.
type WhenFull string

// The values of WhenFull.
const (
	Drop WhenFull = "drop" // it is counted and not sent
	Wait WhenFull = "wait" // it is sent when another has ended; its latency counts from when it was due
)

// The defaults.
const (
	DefaultMaxOutstanding = 10_000                // as many as the proxy's queue holds
	DefaultLateAfter      = 10 * time.Millisecond // ten times the error of a timer on an idle machine
)

const maxRate = 1e6 // conversations per second: far beyond what a process can send

// Open reports whether it is an open loop.
func (a Arrival) Open() bool { return a.Process != Closed }

// Validate names the flag whose value is out of range.
func (a Arrival) Validate() error {
	inRange := func(v float64) bool { return v > 0 && v <= maxRate }
	switch {
	case !a.Open() && a.WarmUp != 0:
		return fmt.Errorf("-warm-up: needs -rate or -trace: a closed loop measures all of its prompts")
	case !a.Open():
		return nil
	case a.Process == Recorded && !inRange(a.TraceSpeed):
		return fmt.Errorf("-speed: must be above 0 and at most %.0f, got %v", float64(maxRate), a.TraceSpeed)
	case a.Process != Recorded && !inRange(a.Rate):
		return fmt.Errorf("-rate: must be above 0 and at most %.0f a second, got %v", float64(maxRate), a.Rate)
	case a.MaxOutstanding < 1:
		return fmt.Errorf("-most-outstanding: must be at least 1, got %d", a.MaxOutstanding)
	case a.WhenFull != Drop && a.WhenFull != Wait:
		return fmt.Errorf("-when-full: must be drop or wait, got %q", a.WhenFull)
	case a.WarmUp < 0:
		return fmt.Errorf("-warm-up: must be at least 0s, got %v", a.WarmUp)
	case a.LateAfter < 0:
		return fmt.Errorf("-late-after: must be at least 0s, got %v", a.LateAfter)
	}
	return nil
}

// begin says when a conversation is due.
type begin struct {
	conversation int
	after        time.Duration // from the beginning of the pass
}

// schedule returns when each conversation is due, earliest first. starts are the indices of the
// first prompts. The same seed gives the same times, so that all settings of a repeat have the same
// arrivals.
func (a Arrival) schedule(prompts []target.Prompt, starts []int, seed uint64) []begin {
	all := make([]begin, len(starts))
	times := a.times(len(groups(prompts, starts)), seed)
	group := -1
	for i, at := range starts {
		p := prompts[at]
		switch {
		case a.Process == Recorded:
			all[i] = begin{i, time.Duration(float64(p.At) / a.TraceSpeed)}
		case i > 0 && p.Joins:
			all[i] = begin{i, all[i-1].after}
		default:
			group++
			all[i] = begin{i, times[group]}
		}
	}
	slices.SortStableFunc(all, func(x, y begin) int { return cmp.Compare(x.after, y.after) })
	return all
}

// times returns n arrival times of a Constant or Poisson process, and nil for Recorded.
func (a Arrival) times(n int, seed uint64) []time.Duration {
	if a.Process == Recorded {
		return nil
	}
	rng := rand.New(rand.NewPCG(seed, 1)) // stream 0 orders the settings
	out := make([]time.Duration, n)
	expected := 0.0 // arrivals so far by the rate
	for i := range out {
		if i > 0 && a.Process == Constant {
			expected++
		} else if i > 0 {
			expected += rng.ExpFloat64()
		}
		out[i] = time.Duration(expected / a.Rate * float64(time.Second))
	}
	return out
}
