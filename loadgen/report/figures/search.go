package figures

import (
	"cmp"
	"slices"

	"paceline/loadgen/report"
)

// Searched is what loadgen find found in one state of the cache.
type Searched struct {
	Name  string  // cold or warm
	Found []Found // the largest rate first
}

// Found is the largest rate that keeps the objective at one setting. Rates are conversations begun per
// second.
type Found struct {
	Cell                // the setting; of the figures only All is filled
	Kept, Broke float64 // see report.Edge
	Goodput     float64 // at Kept: answers within the bound per second, median
	Alone       float64 // the objective's percentile with one caller at a time, seconds
	Rates       []Tried // that were tried, smallest first
}

// Tried is what was measured at one rate of one setting.
type Tried struct {
	Rate            float64
	Seconds         float64 // the objective's percentile of the latency from when due, median
	Goodput, Within float64 // medians
	Kept, Of        int     // passes
}

// Seconds is the objective's percentile at Kept; 0 without one.
func (f Found) Seconds() float64 { return f.at(f.Kept).Seconds }

func (f Found) at(rate float64) Tried {
	if i := slices.IndexFunc(f.Rates, func(r Tried) bool { return r.Rate == rate }); i >= 0 {
		return f.Rates[i]
	}
	return Tried{}
}

// searched derives what a search found; nil for a sweep.
func searched(r report.Report) (all []Searched) {
	o := r.Config.Objective
	if o == nil {
		return nil
	}
	for _, name := range []string{"cold", "warm"} {
		s := Searched{Name: name}
		runs := only(r.Runs, func(run report.Run) bool { return run.Phase == name && run.Outcome != nil })
		for _, setting := range report.Settings(runs) {
			s.Found = append(s.Found, found(only(runs, func(run report.Run) bool { return run.Setting == setting }), *o, r.Config.Repeats))
		}
		slices.SortStableFunc(s.Found, func(a, b Found) int {
			return cmp.Or(cmp.Compare(b.Kept, a.Kept), cmp.Compare(a.Seconds(), b.Seconds()))
		})
		s.rank()
		if len(runs) > 0 {
			all = append(all, s)
		}
	}
	return all
}

func found(runs []report.Run, o report.Objective, repeats int) Found {
	first := runs[0]
	f := Found{Cell: Cell{Setting: first.Setting, Mode: first.Mode, Phase: first.Phase, BatchSize: first.BatchSize, All: runs}}
	f.Kept, f.Broke = report.Edge(runs, repeats)
	for _, run := range runs {
		if f.at(run.Rate).Of > 0 || run.Interrupted {
			continue
		}
		at := only(runs, func(other report.Run) bool { return other.Rate == run.Rate && !other.Interrupted })
		f.Rates = append(f.Rates, Tried{
			Rate: run.Rate, Seconds: median(at, o.Of), Of: len(at),
			Goodput: median(at, func(r report.Run) float64 { return r.Outcome.Goodput }),
			Within:  median(at, func(r report.Run) float64 { return r.Outcome.Within }),
			Kept:    len(only(at, func(r report.Run) bool { return r.Outcome.Kept })),
		})
	}
	slices.SortFunc(f.Rates, func(a, b Tried) int { return cmp.Compare(a.Rate, b.Rate) })
	f.Alone, f.Goodput = f.at(0).Seconds, f.at(f.Kept).Goodput
	return f
}

// rank ranks the settings. One shares the rank of the group before it if its interval meets that of the
// group's first.
func (s *Searched) rank() {
	first := 0
	for i := range s.Found {
		if f := &s.Found[i]; f.Kept > 0 {
			if !s.Found[first].meets(*f) {
				first = i
			}
			f.Rank = first + 1
		}
	}
}

// meets reports whether the intervals of two rates meet. One without an upper end meets all above it.
func (f Found) meets(other Found) bool {
	below := func(a, b Found) bool { return a.Broke > 0 && a.Broke <= b.Kept }
	return !below(f, other) && !below(other, f)
}

// Best is the setting to take: of those of rank 1 the one with the largest rate; nil if none keeps the
// objective.
func (s Searched) Best() *Found {
	if len(s.Found) == 0 || s.Found[0].Kept == 0 {
		return nil
	}
	return &s.Found[0]
}

// Single is what settings are set against: single calls through the proxy, or else straight to SGLang; nil
// without a rate.
func (s Searched) Single() *Found {
	for _, name := range []string{"unbatched", "direct"} {
		if i := slices.IndexFunc(s.Found, func(f Found) bool { return f.Setting == name && f.Kept > 0 }); i >= 0 {
			return &s.Found[i]
		}
	}
	return nil
}

// AgainstSingle compares a setting with Single; nil if there is nothing to compare.
func (s Searched) AgainstSingle(f Found) *Against {
	single := s.Single()
	if single == nil || f.Kept == 0 || f.Setting == single.Setting {
		return nil
	}
	a := Against{Base: single.Cell, Cell: f.Cell, Told: Differ}
	a.Base.Throughput, a.Cell.Throughput = single.Kept, f.Kept
	if single.meets(f) {
		a.Told = Alike
	}
	return &a
}
