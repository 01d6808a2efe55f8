package sweep

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"paceline/loadgen/report"
	"paceline/loadgen/target"
)

// Search finds the largest rate at which each setting of a sweep keeps an objective. Its passes are open
// loops of Poisson arrivals, in rates of one grid, so that settings compare.
//
// One caller at a time shows first whether the objective can be kept at all, and where to begin. Then the
// rates double or halve until one keeps the objective and one breaks it, and the distance is bisected, by
// short scouting passes. Longer ones at both edges, the Plan's Repeats of them with other arrivals each, make
// the interval: see report.Edge.
type Search struct {
	*Sweep
	Objective report.Objective

	// Measured is called after each pass, in order. Its error ends the search.
	Measured func(report.Run, []report.Request) error

	passes func(context.Context, Pass, Plan, []target.Prompt) (*report.Run, []report.Request, error) // nil: of the Sweep
}

const (
	gridStep = 1.05 // neighbouring rates differ by this factor: the precision of the search
	bigStep  = 16   // steps of the grid, a factor of 2.2: the largest while no rate on the other side is known

	// loneMost is how many conversations one caller at a time sends.
	loneMost = 100
	// idle is the share of the time in which one caller at a time would be served, below which lower rates
	// change nothing.
	idle = 0.02

	// beyond is how many requests of a pass are allowed beyond the percentile: of 300, three above P99. A
	// scouting pass allows one.
	beyond = 3
	// leastCounted is how many requests a pass counts at the least.
	leastCounted = 100
	// bounds is how many times as long as its bound a pass counts: a load of 10 % more than the server can do
	// passes the bound well within that. On a queue of known theory the lower edge is on average 0.85 to 1.02
	// times the true rate (TestTheLargestRateIsNearThatOfTheory).
	bounds = 20
	// settling is the share of what counts that is sent before it.
	settling = 0.25

	maxTries = 60 // passes of one setting; a server that changes all the time would need more
)

// ErrTooFewPrompts says that the load is too small for any pass. A warm pass sends prompts again, a cold one
// can't.
var ErrTooFewPrompts = errors.New("-n: too few prompts")

// Run searches at all settings. It returns the runs, even if ctx ends or an error stops it midway. A
// setting that runs out of prompts has no upper edge. ErrTooFewPrompts is returned if no pass is possible.
func (s Search) Run(ctx context.Context) (runs []report.Run, err error) {
	if s.passes == nil {
		s.passes = s.measure
	}
	for _, phase := range s.Plan.phases() {
		for _, c := range s.Plan.order()[:len(s.Plan.Settings)] {
			one := seek{
				Search: s, setting: c.setting, phase: phase, groups: groups(s.Prompts, conversations(s.Prompts)),
				kept: map[int]int{}, broke: map[int]int{}, highest: math.MinInt, lowest: math.MaxInt,
			}
			err := one.run(ctx)
			runs = append(runs, one.runs...)
			if err != nil && !errors.Is(err, errUnsettled) {
				return runs, err
			}
		}
	}
	return runs, nil
}

// groups returns those of the first prompts of conversations (starts) that begin when they are due
// themselves. The others are copies that begin with the one before them.
func groups(prompts []target.Prompt, starts []int) (own []int) {
	for _, i := range starts {
		if len(own) == 0 || !prompts[i].Joins {
			own = append(own, i)
		}
	}
	return own
}

// seek is the search at one setting in one phase. Its rates are steps of the grid.
type seek struct {
	Search
	setting     Setting
	phase       Phase
	groups      []int
	kept, broke map[int]int // passes at a step, without scouting ones
	highest     int         // step that kept the objective in a pass
	lowest      int         // step that broke it in a pass
	runs        []report.Run
}

// rateAt returns the rate of a step, with three digits.
func rateAt(step int) float64 {
	rate := math.Pow(gridStep, float64(step))
	perDigit := math.Pow(10, 2-math.Floor(math.Log10(rate)))
	return math.Round(rate*perDigit) / perDigit
}

func stepOf(rate float64) int { return int(math.Round(math.Log(rate) / math.Log(gridStep))) }

func (s *seek) run(ctx context.Context) error {
	top := stepOf(maxRate)
	for s.phase == Cold && s.size(top, beyond) > len(s.groups) {
		if top--; rateAt(top) < 1e-3 {
			return fmt.Errorf("%w: %s needs %d conversations in a pass, there are %d",
				ErrTooFewPrompts, s.Objective, s.size(top, beyond), len(s.groups))
		}
	}
	if s.phase == Warm { // no pass flushes the cache
		if _, _, err := s.passes(ctx, Pass{Setting: s.setting, Phase: Cold}, s.Plan, s.Prompts); err != nil {
			return err
		}
	}
	alone := s.Plan
	alone.Concurrency = 1
	kept, err := s.pass(ctx, alone, s.first(min(loneMost, len(s.groups))), 0, 0)
	if err != nil || !kept { // slower for more callers, too
		return err
	}
	perSecond := 1 / s.runs[0].Latency.Mean
	low, high, err := s.bracket(ctx, min(top, stepOf(perSecond/2)), top, stepOf(idle*perSecond))
	for err == nil && low < high-1 {
		middle := (low + high) / 2
		if kept, err = s.try(ctx, middle, 1); kept {
			low = middle
		} else {
			high = middle
		}
	}
	if err != nil {
		return err
	}
	return s.edges(ctx, low, high, top)
}

// edges measures the Repeats at the highest step that keeps the objective and at the lowest that breaks it, from
// guesses, and moves on where one of them does not.
func (s *seek) edges(ctx context.Context, low, high, top int) (err error) {
	for err == nil && (low >= s.lowest || s.kept[low] < s.Plan.Repeats) {
		if low >= s.lowest {
			low = s.lowest - 1
		} else {
			_, err = s.try(ctx, low, beyond)
		}
	}
	for err == nil && high <= top && (high <= s.highest || s.broke[high] < s.Plan.Repeats) {
		if high <= s.highest {
			high = s.highest + 1
		} else {
			_, err = s.try(ctx, high, beyond)
		}
	}
	return err
}

// bracket returns a step that keeps the objective and one above it that breaks it. The second is above
// top if the objective is kept at top, and errUnsettled is returned if it is broken at floor, where
// nearly no two requests are under way together.
func (s *seek) bracket(ctx context.Context, step, top, floor int) (low, high int, err error) {
	low, high = floor, top+1
	for by := bigStep / 2; ; by = bigStep {
		kept, err := s.try(ctx, step, 1)
		switch {
		case err != nil:
			return low, high, err
		case kept:
			low = step
		default:
			high = step
		}
		switch {
		case low > floor && high <= top, low == top:
			return low, high, nil
		case high <= floor+1:
			return low, high, errUnsettled
		case kept:
			step = min(step+by, top)
		default:
			step = max(step-by, floor+1)
		}
	}
}

// errUnsettled ends the search of a setting without an edge.
var errUnsettled = errors.New("no edge found")

// counted is how many groups a pass at a rate counts.
func (s *seek) counted(rate float64, beyond int) float64 {
	requests := max(leastCounted, float64(beyond)/(1-s.Objective.Percentile/100))
	perGroup := float64(len(s.Prompts)) / float64(len(s.groups))
	return math.Ceil(max(requests/perGroup, rate*bounds*s.Objective.Seconds))
}

// answers is how many answers a group gets, on average.
func (s *seek) answers() float64 {
	sum := 0
	for _, p := range s.Prompts {
		sum += p.Answers()
	}
	return float64(sum) / float64(len(s.groups))
}

// size is how many groups a pass at a step sends.
func (s *seek) size(step, beyond int) int {
	return int(math.Ceil(s.counted(rateAt(step), beyond) * (1 + settling)))
}

// first returns the prompts of the first n groups. It begins anew where there are fewer.
func (s *seek) first(n int) (some []target.Prompt) {
	for ; n > len(s.groups); n -= len(s.groups) {
		some = append(some, s.Prompts...)
	}
	if n == len(s.groups) {
		return append(some, s.Prompts...)
	}
	return append(some, s.Prompts[:s.groups[n]]...)
}

// try measures an open loop at a step, in which so many requests may be beyond the percentile: 1 to scout. It
// reports whether the objective was kept.
func (s *seek) try(ctx context.Context, step, allowed int) (kept bool, err error) {
	if len(s.runs) > maxTries {
		return false, errUnsettled
	}
	rate, plan, repeat := rateAt(step), s.Plan, 0
	plan.Arrival = Arrival{
		Process: Poisson, Rate: rate, MaxOutstanding: DefaultMaxOutstanding, WhenFull: Drop, LateAfter: DefaultLateAfter,
		WarmUp: time.Duration(settling * s.counted(rate, allowed) / rate * float64(time.Second)),
	}
	if allowed == beyond {
		repeat = 1 + s.kept[step] + s.broke[step]
	}
	kept, err = s.pass(ctx, plan, s.first(s.size(step, allowed)), rate, repeat)
	switch {
	case err != nil || repeat == 0:
	case kept:
		s.kept[step]++
		s.highest = max(s.highest, step)
	default:
		s.broke[step]++
		s.lowest = min(s.lowest, step)
	}
	return kept, err
}

// pass measures a pass and judges it. A pass that was disturbed is measured again.
func (s *seek) pass(ctx context.Context, plan Plan, prompts []target.Prompt, rate float64, repeat int) (kept bool, err error) {
	p := Pass{Setting: s.setting, Phase: s.phase, Repeat: repeat, Number: len(s.runs) + 1}
	for try := 0; ; try++ {
		run, requests, err := s.passes(ctx, p, plan, prompts)
		if run == nil {
			return false, err
		}
		if err == nil && try < moreTries && run.Disturbed() {
			continue
		}
		outcome := s.Objective.Judge(*run, requests, rate*s.answers())
		run.Rate, run.Outcome = rate, &outcome
		for i := range requests {
			requests[i].Rate = rate
		}
		s.runs = append(s.runs, *run)
		return outcome.Kept, cmp.Or(err, s.Measured(*run, requests))
	}
}
