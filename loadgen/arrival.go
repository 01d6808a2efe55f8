package main

import (
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"paceline/loadgen/report"
	"paceline/loadgen/sweep"
)

// arrivalOptions are the flags that say when requests are sent.
type arrivalOptions struct {
	rate, arrival, whenFull    string
	trace                      string
	speed                      float64
	mostOutstanding            int
	warmUp, lateAfter, stagger time.Duration
}

func (a *arrivalOptions) define(f *flag.FlagSet) {
	f.StringVar(&a.rate, "rate", "", "open loop: conversations that begin in a second, whether others were answered or not; `from..to` goes from one rate to the other (default: closed loop, -concurrency callers)")
	f.StringVar(&a.arrival, "arrival", string(sweep.Poisson), "with -rate, distances between beginnings: poisson or constant")
	f.IntVar(&a.mostOutstanding, "most-outstanding", sweep.DefaultMostOutstanding, "with -rate or -trace, most conversations under way at once")
	f.StringVar(&a.whenFull, "when-full", string(sweep.Drop), "what becomes of a conversation that is due beyond that: drop (counted, not sent) or wait")
	f.DurationVar(&a.warmUp, "warm-up", 0, "with -rate or -trace, leave what is due in the first so long of each run out of all figures")
	f.DurationVar(&a.lateAfter, "late-after", sweep.DefaultLateAfter, "with -rate or -trace, count a request as late that is sent so long after it was due")
	f.DurationVar(&a.stagger, "stagger", 0, "with -rollouts, how long after the one before it a copy begins; 0: together")
	f.StringVar(&a.trace, "trace", "", "`file` of recorded requests, JSON lines with timestamp (ms), input_length and hash_ids of 512 tokens each, as Mooncake's: sent when they were, unless -rate says otherwise")
	f.Float64Var(&a.speed, "speed", 1, "with -trace, how much faster than recorded")
}

// sweepArrival is the arrival that the flags ask for; the plan validates it.
func (a arrivalOptions) sweepArrival() (sweep.Arrival, error) {
	out := sweep.Arrival{WarmUp: a.warmUp}
	switch {
	case a.rate == "" && a.trace == "":
		switch {
		case a.arrival != string(sweep.Poisson):
			return out, fmt.Errorf("-arrival: needs -rate too")
		case a.mostOutstanding != sweep.DefaultMostOutstanding:
			return out, fmt.Errorf("-most-outstanding: needs -rate or -trace too")
		case a.whenFull != string(sweep.Drop):
			return out, fmt.Errorf("-when-full: needs -rate or -trace too")
		case a.lateAfter != sweep.DefaultLateAfter:
			return out, fmt.Errorf("-late-after: needs -rate or -trace too")
		}
		return out, nil
	case a.rate == "":
		out.Process, out.TraceSpeed = sweep.Recorded, a.speed
	case a.arrival != string(sweep.Poisson) && a.arrival != string(sweep.Constant):
		return out, fmt.Errorf("-arrival: must be poisson or constant, got %q; a ramp is -rate from..to", a.arrival)
	default:
		var err error
		out.Process = sweep.Process(a.arrival)
		if out.Rate, out.RateEnd, err = parseRate(a.rate); err != nil {
			return out, err
		}
	}
	out.MostOutstanding, out.WhenFull, out.LateAfter = a.mostOutstanding, sweep.WhenFull(a.whenFull), a.lateAfter
	return out, nil
}

// parseRate reads a rate a second, or two for a ramp.
func parseRate(text string) (from, to float64, err error) {
	first, last, ramp := strings.Cut(text, "..")
	if !ramp {
		last = first
	}
	if from, err = strconv.ParseFloat(first, 64); err == nil {
		to, err = strconv.ParseFloat(last, 64)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("-rate: expected conversations a second such as 20, or 5..50 for a ramp, got %q", text)
	}
	return from, to, nil
}

// arrivalOf is an arrival for the report; nil for the closed loop.
func arrivalOf(a sweep.Arrival) *report.Arrival {
	if !a.Open() {
		return nil
	}
	return &report.Arrival{
		Process: string(a.Process), Rate: a.Rate, RateEnd: a.RateEnd, TraceSpeed: a.TraceSpeed,
		MostOutstanding: a.MostOutstanding, WhenFull: string(a.WhenFull),
		WarmUpSeconds: a.WarmUp.Seconds(), LateAfterSeconds: a.LateAfter.Seconds(),
	}
}
