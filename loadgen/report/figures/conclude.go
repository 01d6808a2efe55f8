package figures

import (
	"cmp"
	"slices"

	"paceline/loadgen/report"
	"paceline/loadgen/stats"
)

// Choice is the kind of a recommendation.
type Choice string

// The choices, for a closed loop unless they say otherwise.
const (
	NoSize   Choice = "no size"   // no size has a comparable figure
	OneSize  Choice = "one size"  // Take is the only size
	Unsure   Choice = "unsure"    // Take has the highest figure, from too few repeats
	InFront  Choice = "in front"  // Equal can't be told apart from Take, which ranks highest among all settings
	Apart    Choice = "apart"     // Equal can't be told apart from Take, the smallest that is told apart from single calls
	Unclear  Choice = "unclear"   // Equal can't be told apart from Take, the smallest of the highest figures: the repeats vary much
	Smallest Choice = "smallest"  // Equal can't be told apart; Take is the smallest
	Winner   Choice = "winner"    // Take is told apart from Next
	NoFigure Choice = "no figure" // open loop: no setting has comparable figures
	Soonest  Choice = "soonest"   // open loop: Take answers soonest
)

// Recommendation says which setting to take in one phase, as far as the figures allow.
type Recommendation struct {
	Choice Choice
	Take   Cell
	Next   *Cell  // the next best
	Equal  []Cell // those that can't be told apart from Take

	Keep *Against // the proxy's own defaults against Take, if they are not told to be slower

	Worth *Against // the defaults to keep, or else Take, against single calls without batching
	Why   Worth    // the result of that comparison

	// For a sweep that varies more than the size.
	Of   int     // combinations measured; 0: only the size varies
	Top  Cell    // the cell with the highest figure
	Like []Cell  // can't be told apart from Top, smallest size first
	Sure Verdict // Differ: Top is told apart from all others
	Side string  // the other dimensions that Take is chosen at

	// For an open loop, in seconds from when a request was due.
	Mean, P99, NextMean float64
	ToldFromNext        Verdict
}

// Worth says whether batching is worth it.
type Worth string

// What batching is worth against single calls.
const (
	Unknown Worth = "unknown" // too few repeats
	NoGain  Worth = "no gain" // can't be told apart
	Costs   Worth = "costs"   // single calls are faster
	Gains   Worth = "gains"
)

// Against is a cell compared with a base.
type Against struct {
	Base, Cell Cell
	Told       Verdict
}

func (p Phase) against(base, c Cell) Against { return Against{base, c, p.compare(base, c)} }

// Ratio returns the cell's throughput as a multiple of the base's; 0 without a base.
func (a Against) Ratio() float64 {
	if a.Base.Throughput <= 0 {
		return 0
	}
	return a.Cell.Throughput / a.Base.Throughput
}

// recommend chooses a setting: by throughput in a closed loop, and by latency in an open loop, whose
// throughput is what was offered.
func (p Phase) recommend(cfg report.Config) Recommendation {
	if cfg.Arrival != nil {
		return p.recommendSoonest()
	}
	sides, sized := p.sides(), p.sized()
	if len(sides) < 2 || len(sized) == 0 {
		return p.choose().keep(p).against(p)
	}
	r := sides[0].choose().keep(p).against(p)
	r.Of, r.Top, r.Side, r.Sure = len(sized), fastest(sized), sides[0].name, Alike
	r.Like = only(sized, func(c Cell) bool { return c.Setting != r.Top.Setting && p.compare(r.Top, c) == Alike })
	switch {
	case p.tooFew(sized):
		r.Sure = TooFew
	case len(r.Like) == 0:
		r.Sure = Differ
	}
	return r
}

// choose decides which batch size to take. Of the sizes that rank highest, those told to be faster than
// single calls go first, then those within Margin of the highest figure: a size that could not be told
// apart may still be much slower. The smallest of them is taken. No other function decides.
func (p Phase) choose() Recommendation {
	sized := p.sized()
	switch {
	case len(sized) == 0:
		return Recommendation{Choice: NoSize}
	case len(sized) == 1:
		return Recommendation{Choice: OneSize, Take: sized[0]}
	case p.tooFew(sized):
		return Recommendation{Choice: Unsure, Take: fastest(sized)}
	}
	best := slices.MinFunc(sized, func(a, b Cell) int { return cmp.Compare(a.Rank, b.Rank) }).Rank
	front := only(sized, func(c Cell) bool { return c.Rank == best })
	single, _ := p.find("unbatched")
	gain := only(front, func(c Cell) bool { return c.Throughput > single.Throughput && p.compare(single, c) == Differ })
	if len(gain) == 0 {
		gain = front
	}
	near := only(gain, func(c Cell) bool { return c.Throughput*(1+Margin) >= fastest(gain).Throughput })
	r := Recommendation{Choice: Smallest, Take: near[0]}
	r.Equal = only(sized, func(c Cell) bool {
		return !slices.ContainsFunc(front, func(o Cell) bool { return p.compare(o, c) == Differ })
	})
	switch {
	case len(r.Equal) == 1:
		next := fastest(only(sized, func(c Cell) bool { return c.Setting != r.Take.Setting }))
		r.Choice, r.Equal, r.Next = Winner, nil, &next
	case near[0].Setting != gain[0].Setting:
		r.Choice = Unclear
	case gain[0].Setting != front[0].Setting:
		r.Choice = Apart
	case len(front) < len(r.Equal):
		r.Choice = InFront
	}
	return r
}

// keep prefers the proxy's defaults to a size that is not told to be faster: they need no flags.
func (r Recommendation) keep(p Phase) Recommendation {
	defaults, ok := p.find("defaults")
	if !ok {
		return r
	}
	a := p.against(r.Take, defaults)
	if a.Told != Alike && a.Base.Throughput > defaults.Throughput {
		return r
	}
	r.Keep = &a
	return r
}

// tooFew reports whether cells have too few repeats to be told apart.
func (p Phase) tooFew(cells []Cell) bool {
	return slices.ContainsFunc(cells, func(c Cell) bool { return p.compare(fastest(cells), c) == TooFew })
}

// against compares what is recommended with not batching at all.
func (r Recommendation) against(p Phase) Recommendation {
	single, ok := p.find("unbatched")
	take := r.Best()
	if !ok || take == nil {
		return r
	}
	worth := p.against(single, *take)
	r.Worth, r.Why = &worth, Gains
	switch {
	case worth.Told == TooFew:
		r.Why = Unknown
	case worth.Told == Alike:
		r.Why = NoGain
	case single.Throughput > take.Throughput:
		r.Why = Costs
	}
	return r
}

func (p Phase) recommendSoonest() Recommendation {
	cells := p.soonest()
	if len(cells) == 0 {
		return Recommendation{Choice: NoFigure}
	}
	take := cells[0]
	p99 := func(r report.Run) float64 { return r.Due().LatencyFromIntended.P99 }
	r := Recommendation{Choice: Soonest, Take: take, Mean: stats.Median(take.due()), P99: stats.Median(each(take.timed(), p99))}
	if len(cells) > 1 {
		r.Next, r.NextMean = &cells[1], stats.Median(cells[1].due())
		r.ToldFromNext = p.compare(take, cells[1])
	}
	return r
}

// soonest lists the cells that compare, that of the lowest latency from when due first.
func (p Phase) soonest() []Cell {
	cells := only(p.Cells, func(c Cell) bool { return c.Ranked && len(c.due()) > 0 })
	slices.SortStableFunc(cells, func(a, b Cell) int { return cmp.Compare(stats.Median(a.due()), stats.Median(b.due())) })
	return cells
}

// A sweep may vary more than the batch size: batches in flight, waiting, order. A
// setting's name then says so after its size ("16, 4 in flight, 0s"). Sizes compare only
// with sizes that have the rest of the name in common.

// side is the part of a phase whose sizes compare. The side of the fastest one also
// holds the settings without a size.
type side struct {
	name string // what they have in common: 4 in flight, 0s
	Phase
}

// sides lists the sides of a phase, the fastest first; one if only the size varies.
func (p Phase) sides() (all []side) {
	for _, c := range p.Cells { // by rank
		if !c.Fixed() {
			continue
		}
		i := slices.IndexFunc(all, func(s side) bool { return s.name == c.Beside() })
		if i < 0 {
			i = len(all)
			all = append(all, side{c.Beside(), Phase{Name: p.Name, verdicts: p.verdicts}})
		}
		all[i].Cells = append(all[i].Cells, c)
	}
	if len(all) > 0 {
		all[0].Cells = only(p.Cells, func(c Cell) bool { return !c.Fixed() || c.Beside() == all[0].name })
	}
	return all
}

// Improvement sets the settings of a phase against batch size 1.
type Improvement struct {
	Base  bool // batch size 1 has a figure over all prompts
	Sides bool // each size is set against size 1 with the rest the same
	Rows  []Against
}

// improvement sets each size against size 1 with the rest the same, and settings without
// a size against the fastest size 1, in the order of the ranking.
func (p Phase) improvement() Improvement {
	ones := only(p.sized(), func(c Cell) bool { return c.BatchSize == 1 })
	all := Improvement{Base: len(ones) > 0, Sides: len(p.sides()) > 1}
	for _, c := range p.Cells {
		i := slices.IndexFunc(ones, func(one Cell) bool { return one.Beside() == c.Beside() })
		switch {
		case !all.Base || !c.Ranked:
		case !c.Fixed():
			all.Rows = append(all.Rows, p.against(fastest(ones), c))
		case c.BatchSize != 1 && i >= 0:
			all.Rows = append(all.Rows, p.against(ones[i], c))
		}
	}
	return all
}
