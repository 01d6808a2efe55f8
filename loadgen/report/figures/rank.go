package figures

import (
	"cmp"
	"math"
	"slices"

	"paceline/loadgen/report"
	"paceline/loadgen/stats"
)

const (
	// ByChance is the share of reports that find a difference where there is none. It holds over all
	// comparisons that a report makes.
	ByChance = 0.05
	// Margin is the smallest difference that matters, however certain it is.
	Margin = 0.02
)

// Verdict is what the repeats say about the difference of two cells.
type Verdict string

// The verdicts. An empty one means that nothing was compared.
const (
	TooFew Verdict = "too few" // too few repeats
	Alike  Verdict = "alike"   // chance explains the difference, or it is too small to matter
	Differ Verdict = "differ"
)

// verdictOf decides from a test and the figures of the first and the second. Nothing else decides whether
// two cells differ.
func verdictOf(d stats.Difference, first, second float64) Verdict {
	by := math.Log(first / second)
	switch {
	case d.P > 1:
		return TooFew
	case d.P <= ByChance && math.Abs(by) >= math.Log1p(Margin) && by*d.By > 0:
		return Differ
	}
	return Alike
}

// verdicts are those of all pairs of a phase's settings.
type verdicts map[[2]string]Verdict

// decide compares all ranked cells with each other, in rounds. measure is what is compared. phases is how
// many phases share the error.
func decide(cells []Cell, measure func(report.Run) float64, phases int) verdicts {
	cells = only(cells, func(c Cell) bool { return c.Ranked })
	samples, medians := make([]map[int]float64, len(cells)), make([]float64, len(cells))
	for i, c := range cells {
		samples[i] = map[int]float64{}
		for _, r := range c.Runs {
			if v := measure(r); v > 0 {
				samples[i][r.Repeat] = v
			}
		}
		medians[i] = c.Median(measure)
	}
	all := verdicts{}
	for i, row := range stats.DifferencesInRounds(samples) {
		for j, d := range row {
			if d.P <= 1 {
				d.P *= float64(phases)
				d.P = min(1, d.P)
			}
			all[[2]string{cells[i].Setting, cells[j].Setting}] = verdictOf(d, medians[i], medians[j])
		}
		all[[2]string{cells[i].Setting, cells[i].Setting}] = Alike
	}
	return all
}

// compare returns the verdict on two cells of the phase.
func (p Phase) compare(a, b Cell) Verdict {
	return cmp.Or(p.verdicts[[2]string{a.Setting, b.Setting}], TooFew)
}

// rank sorts by throughput and ranks. A cell shares the rank of the group before it unless it differs from
// one of that group, so that cells of one rank are never told apart. With too few repeats, ranks only
// follow the figures.
func (p *Phase) rank() {
	slices.SortStableFunc(p.Cells, func(a, b Cell) int {
		return cmp.Or(unranked(a, b), cmp.Compare(b.Throughput, a.Throughput), byPlace(a, b))
	})
	first := 0 // of the group
	for i := range p.Cells {
		c := &p.Cells[i]
		if !c.Ranked {
			break
		}
		if slices.ContainsFunc(p.Cells[first:i], func(o Cell) bool { return p.compare(o, *c) != Alike && o.Throughput != c.Throughput }) {
			first = i
		}
		c.Rank = first + 1
		if i > 0 {
			c.Told = p.compare(p.Cells[0], *c)
		}
	}
}

// unranked orders cells without a comparable figure behind all others.
func unranked(a, b Cell) int {
	switch {
	case a.Ranked == b.Ranked:
		return 0
	case a.Ranked:
		return -1
	}
	return 1
}

// byPlace orders cells as in tables.
func byPlace(a, b Cell) int { return cmp.Compare(a.All[0].Place(), b.All[0].Place()) }

// fastest returns the cell with the highest figure; cells must not be empty.
func fastest(cells []Cell) Cell {
	return slices.MaxFunc(cells, func(a, b Cell) int { return cmp.Compare(a.Throughput, b.Throughput) })
}
