package figures

import (
	"cmp"
	"slices"

	"paceline/loadgen/report"
	"paceline/loadgen/stats"
)

// ByChance is the significance level: two settings differ if chance explains the difference no more
// often. Three repeats each reach it exactly when every run of one is faster than every run of the
// other. Five rounds reach it when one is faster in each.
const ByChance = 0.10

// Verdict is what the repeats say about the difference of two cells.
type Verdict string

// The verdicts. An empty one means that nothing was compared.
const (
	TooFew Verdict = "too few" // too few repeats
	Alike  Verdict = "alike"   // chance explains the difference
	Differ Verdict = "differ"
)

// compare compares two cells of one sweep, within rounds if there are enough.
func compare(a, b Cell) Verdict {
	var of, with []float64 // throughputs of the rounds in which both were measured
	for _, r := range a.Runs {
		if i := slices.IndexFunc(b.Runs, func(other report.Run) bool { return other.Repeat == r.Repeat }); i >= 0 {
			of, with = append(of, r.RequestThroughput), append(with, b.Runs[i].RequestThroughput)
		}
	}
	if p, ok := stats.PairedDifferenceByChance(of, with); ok {
		return toVerdict(p, ok)
	}
	return compareSweeps(a, b)
}

// compareSweeps compares a cell of one sweep with one of another.
func compareSweeps(a, b Cell) Verdict {
	return toVerdict(stats.DifferenceByChance(a.throughputs(), b.throughputs()))
}

func toVerdict(p float64, ok bool) Verdict {
	switch {
	case !ok:
		return TooFew
	case p <= ByChance+1e-9:
		return Differ
	}
	return Alike
}

// tooFew reports whether a cell has too few repeats to be told apart from another.
func tooFew(c Cell) bool { return len(c.Runs) < stats.MinToCompare }

// rankCells sorts by throughput and ranks. A cell shares the rank of the group before it if it can't be
// told apart from that group's fastest cell. It is not compared with its neighbour, so that a chain of
// small steps does not end in one rank for all. With too few repeats, ranks only follow the figures.
func rankCells(cells []Cell) []Cell {
	slices.SortStableFunc(cells, func(a, b Cell) int {
		return cmp.Or(unranked(a, b), cmp.Compare(b.Throughput, a.Throughput), byPlace(a, b))
	})
	first := 0 // of the group
	for i := range cells {
		if !cells[i].Ranked {
			break
		}
		if i > 0 && compare(cells[first], cells[i]) != Alike && cells[first].Throughput != cells[i].Throughput {
			first = i
		}
		cells[i].Rank = first + 1
	}
	return cells
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

// leaders returns the sizes that share the first rank among sized alone and are not found to be slower
// than another of them, in order. Modes don't take part: two sizes are not alike only because each
// shares a rank with a faster mode.
func leaders(sized []Cell) []Cell {
	first := only(rankCells(slices.Clone(sized)), func(c Cell) bool { return c.Rank == 1 })
	return only(sized, func(c Cell) bool {
		leads := slices.ContainsFunc(first, func(o Cell) bool { return o.Setting == c.Setting })
		slower := slices.ContainsFunc(first, func(o Cell) bool { return o.Throughput > c.Throughput && compare(o, c) == Differ })
		return leads && !slower
	})
}
