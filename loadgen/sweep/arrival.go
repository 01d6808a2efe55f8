package sweep

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"paceline/loadgen/target"
)

// Arrival is when conversations begin. Its times and rates are those of the report.
// The zero value is the closed loop: as many callers as the plan's Concurrency, each
// beginning a conversation once its last one has ended.
//
// In an open loop conversations begin when they are due, whether those before them
// were answered or not; their later turns follow their answers as in the closed loop.
type Arrival struct {
	Process Process
	// Rate is in conversations per second, and in groups of them where several begin
	// together (target.Prompt.Joins). It goes in a straight line to RateEnd, reached
	// with the last. Of Constant and Poisson.
	Rate, RateEnd float64
	TraceSpeed    float64 // of Recorded: how much faster than recorded

	MostOutstanding int           // conversations under way at once, at most
	WhenFull        WhenFull      // what becomes of one that is due beyond that
	WarmUp          time.Duration // requests due before it is over are sent and not measured
	LateAfter       time.Duration // a request sent more than this after it was due is late

	// Of a load that several processes send, this one's part: of the arrivals of all,
	// every Of-th, from the Index-th on. Of 0 is the whole.
	Index, Of int
}

// Process says at which distances conversations begin.
type Process string

// The processes.
const (
	Closed   Process = ""         // each after the end of another: the closed loop
	Constant Process = "constant" // equal distances
	Poisson  Process = "poisson"  // independent, exponential ones: what many callers who know nothing of each other make
	Recorded Process = "recorded" // as the trace tells
)

// WhenFull is what becomes of a conversation that is due while MostOutstanding are
// under way.
type WhenFull string

// What may become of it.
const (
	Drop WhenFull = "drop" // it is not sent, and counted
	Wait WhenFull = "wait" // it is sent once another has ended, and those after it, too: its wait counts from when it was due
)

// The defaults, each with its reason.
const (
	DefaultMostOutstanding = 10_000                // as many as a proxy's queue takes
	DefaultLateAfter       = 10 * time.Millisecond // ten times what a timer may be off on an idle machine
)

const fastest = 1e6 // conversations per second: far beyond what a process can send

// Open says whether it is an open loop.
func (a Arrival) Open() bool { return a.Process != Closed }

// Validate names what is out of range, by its flag.
func (a Arrival) Validate() error {
	inRange := func(v float64) bool { return v > 0 && v <= fastest }
	switch {
	case !a.Open() && a.WarmUp != 0:
		return fmt.Errorf("-warm-up: needs -rate or -trace: a closed loop measures all of its prompts")
	case !a.Open():
		return nil
	case a.Process == Recorded && !inRange(a.TraceSpeed):
		return fmt.Errorf("-speed: must be above 0 and at most %.0f, got %v", float64(fastest), a.TraceSpeed)
	case a.Process != Recorded && !(inRange(a.Rate) && inRange(a.RateEnd)):
		return fmt.Errorf("-rate: must be above 0 and at most %.0f a second, got %v..%v", float64(fastest), a.Rate, a.RateEnd)
	case a.MostOutstanding < 1:
		return fmt.Errorf("-most-outstanding: must be at least 1, got %d", a.MostOutstanding)
	case a.WhenFull != Drop && a.WhenFull != Wait:
		return fmt.Errorf("-when-full: must be drop or wait, got %q", a.WhenFull)
	case a.WarmUp < 0:
		return fmt.Errorf("-warm-up: must be at least 0s, got %v", a.WarmUp)
	case a.LateAfter < 0:
		return fmt.Errorf("-late-after: must be at least 0s, got %v", a.LateAfter)
	}
	return nil
}

// begin is when a conversation is due.
type begin struct {
	conversation int           // its number
	after        time.Duration // from the beginning of the pass
}

// schedule is when each conversation is due, the first first. The same seed gives the
// same times, so that every setting of a repeat has the same arrivals. starts are the
// indices of their first prompts.
func (a Arrival) schedule(prompts []target.Prompt, starts []int, seed uint64) []begin {
	all := make([]begin, len(starts))
	groups := 0
	for i, at := range starts {
		if i == 0 || !prompts[at].Joins {
			groups++
		}
	}
	of := max(1, a.Of)
	times := a.times(groups*of, seed) // of all processes
	group := -1
	for i, at := range starts {
		p := prompts[at]
		switch {
		case a.Process == Recorded:
			all[i] = begin{i, time.Duration(float64(p.At) / a.TraceSpeed)}
		case i > 0 && p.Joins:
			all[i] = begin{i, all[i-1].after + p.Stagger}
		default:
			group++
			all[i] = begin{i, times[group*of+a.Index]}
		}
	}
	slices.SortStableFunc(all, func(x, y begin) int { return int(min(max(x.after-y.after, -1), 1)) })
	return all
}

// times are n moments of a Constant or Poisson process; none of a Recorded one.
func (a Arrival) times(n int, seed uint64) []time.Duration {
	if a.Process == Recorded {
		return nil
	}
	rng := rand.New(rand.NewPCG(seed, 1)) // 0 is the order of the settings
	out := make([]time.Duration, n)
	expected := 0.0 // arrivals up to now, by the rate
	for i := range out {
		if i > 0 && a.Process == Constant {
			expected++
		} else if i > 0 {
			expected += rng.ExpFloat64()
		}
		out[i] = time.Duration(a.when(expected, n) * float64(time.Second))
	}
	return out
}

// when is the second at which the rate has summed up to expected arrivals, of n: it is
// a line from Rate to RateEnd, which it keeps from the n-th on.
func (a Arrival) when(expected float64, n int) float64 {
	all := float64(n)
	long := 2 * all / (a.Rate + a.RateEnd)
	if expected >= all {
		return long + (expected-all)/a.RateEnd
	}
	// rate·t + slope·t²/2 = expected, in the form that a slope of 0 does not hurt.
	slope := (a.RateEnd - a.Rate) / long
	return 2 * expected / (a.Rate + math.Sqrt(a.Rate*a.Rate+2*slope*expected))
}
