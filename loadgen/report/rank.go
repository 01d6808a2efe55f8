package report

import (
	"cmp"
	"slices"

	"paceline/loadgen/phrase"
	"paceline/loadgen/stats"
)

// byChance is the share of chance below which two settings are taken to differ.
// With three repeats each it is reached exactly when every run of one is faster
// than every run of the other; with five rounds, when one is faster in each.
const byChance = 0.10

// verdict is what the repeats can say of two cells.
type verdict int

const (
	tooFewRepeats verdict = iota
	alike                 // chance makes such a difference too often
	differ
)

// answer is that to the question whether two cells are told apart.
func (v verdict) answer() phrase.Phrase {
	switch v {
	case alike:
		return phrase.Say("no")
	case differ:
		return phrase.Say("yes")
	}
	return phrase.Say("not enough repeats to tell")
}

// compare compares two cells of one sweep: within rounds, once there are enough.
func compare(a, b cell) verdict {
	if p, ok := stats.PairedDifferenceByChance(byRounds(a, b)); ok {
		return judge(p, ok)
	}
	return compareSweeps(a, b)
}

// compareSweeps compares a cell of one sweep with one of another.
func compareSweeps(a, b cell) verdict {
	return judge(stats.DifferenceByChance(a.throughputs(), b.throughputs()))
}

func judge(p float64, ok bool) verdict {
	switch {
	case !ok:
		return tooFewRepeats
	case p <= byChance+1e-9:
		return differ
	}
	return alike
}

// byRounds are the throughputs of the rounds in which both were measured.
func byRounds(a, b cell) (of, with []float64) {
	for _, r := range a.runs {
		if i := slices.IndexFunc(b.runs, func(other Run) bool { return other.Repeat == r.Repeat }); i >= 0 {
			of, with = append(of, r.RequestThroughput), append(with, b.runs[i].RequestThroughput)
		}
	}
	return of, with
}

// tooFew says whether a cell has too few repeats to be told apart from another.
func tooFew(c cell) bool { return len(c.runs) < stats.FewestToCompare }

// shareRank says whether b, the slower of the two, gets a's rank: they can't be
// told apart, or there is no difference at all.
func shareRank(a, b cell) bool {
	return compare(a, b) == alike || a.throughput == b.throughput
}

// byPlace sorts as settings stand in tables, without ranks.
func byPlace(cells []cell) []cell {
	slices.SortStableFunc(cells, func(a, b cell) int {
		return cmp.Or(cmp.Compare(group(a), group(b)), cmp.Compare(place(a.mode, a.batchSize), place(b.mode, b.batchSize)))
	})
	for i := range cells {
		cells[i].rank = 0
	}
	return cells
}

// rankCells sorts by throughput and ranks. A cell shares the rank of the fastest
// of the group before it when the two can't be told apart; comparing with the
// fastest and not with the neighbour keeps a chain of small steps from ending in
// one rank for all. With too few repeats, ranks only follow the figures.
func rankCells(cells []cell) []cell {
	slices.SortStableFunc(cells, func(a, b cell) int {
		return cmp.Or(cmp.Compare(group(a), group(b)), cmp.Compare(b.throughput, a.throughput), cmp.Compare(place(a.mode, a.batchSize), place(b.mode, b.batchSize)))
	})
	first := 0 // of the group
	for i := range cells {
		if !cells[i].ranked {
			break
		}
		if i > 0 && !shareRank(cells[first], cells[i]) {
			first = i
		}
		cells[i].rank = first + 1
	}
	return cells
}

// group puts cells without a comparable figure behind all others.
func group(c cell) int {
	if c.ranked {
		return 0
	}
	return 1
}

// fastest is the cell with the highest figure; cells must not be empty.
func fastest(cells []cell) cell {
	return slices.MaxFunc(cells, func(a, b cell) int { return cmp.Compare(a.throughput, b.throughput) })
}

// leaders are the cells that share the first rank among these alone and are not told
// to be slower than another of them, smallest batch first. Others that share a rank with
// a faster mode are no reason to call two sizes alike.
func leaders(cells []cell) []cell {
	ranked := rankCells(slices.Clone(cells))
	ranked = slices.DeleteFunc(ranked, func(c cell) bool { return c.rank != 1 })
	equal := slices.DeleteFunc(slices.Clone(ranked), func(c cell) bool {
		return slices.ContainsFunc(ranked, func(o cell) bool { return o.throughput > c.throughput && compare(o, c) == differ })
	})
	slices.SortFunc(equal, func(a, b cell) int { return cmp.Compare(a.batchSize, b.batchSize) })
	return equal
}
