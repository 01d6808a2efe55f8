package figures

import (
	"slices"

	"paceline/loadgen/report"
)

// Spent is what a cell's answers took: medians of its runs.
type Spent struct {
	Cell
	Carded          bool    // the cards were sampled
	Watts           float64 // of all cards
	Joules          float64 // per 1,000 answers
	ClockMHz        float64
	Used, Throttled float64 // shares of the time
	Cost            float64 // USD per million prompt tokens; 0: unknown
}

// Carded reports whether the cards of some run were sampled.
func (f Figures) Carded() bool {
	return slices.ContainsFunc(f.Runs, func(r report.Run) bool { return r.Cards != nil })
}

// Spent lists what each cell's answers took, phase by phase; none if neither cards nor costs are known.
func (f Figures) Spent() (all []Spent) {
	for _, p := range f.Phases {
		for _, c := range p.Measured() {
			s := Spent{Cell: c}
			if f.Config.CostPerHour > 0 && c.Tokens > 0 {
				s.Cost = f.Config.CostPerHour / 3600 * c.Wall / float64(c.Tokens) * 1e6
			}
			if runs := only(c.Runs, func(r report.Run) bool { return r.Cards != nil }); len(runs) > 0 {
				of := func(v func(report.Run) float64) float64 { return median(runs, v) }
				s.Carded, s.Watts = true, of(func(r report.Run) float64 { return r.Cards.Watts })
				s.Joules = of(func(r report.Run) float64 { return 1000 * r.Cards.Watts * r.WallClockSeconds / float64(r.Completed) })
				s.ClockMHz = of(func(r report.Run) float64 { return r.Cards.ClockMHz })
				s.Used = of(func(r report.Run) float64 { return r.Cards.Used })
				s.Throttled = of(func(r report.Run) float64 { return throttled(*r.Cards) })
			}
			if s.Carded || s.Cost > 0 {
				all = append(all, s)
			}
		}
	}
	return all
}

// throttled is the share of the samples with the most frequent reason.
func throttled(c report.Cards) (share float64) {
	for _, v := range c.Throttled {
		share = max(share, v)
	}
	return share
}

// minThrottled is the share of a run's samples above which a note says that the cards were throttled.
const minThrottled = 0.05
