package figures

import (
	"slices"

	"paceline/loadgen/report"
)

// Comparison is how the settings of one report stand beside the same of another.
type Comparison struct {
	Before, After         report.Report // settled
	Pairs                 []Pair
	OnlyBefore, OnlyAfter []string // phase and setting
}

// Pair is one setting with the cache in one state, in two reports.
type Pair struct {
	Phase         string
	Before, After Cell
	Told          Verdict
}

// Compare pairs the settings that both reports measured, in the order of before.
func Compare(before, after report.Report) Comparison {
	c := Comparison{Before: before.Settled(), After: after.Settled()}
	a, b := cells(c.Before), cells(c.After)
	same := func(all []Cell, one Cell) int {
		return slices.IndexFunc(all, func(c Cell) bool { return c.Phase == one.Phase && c.Setting == one.Setting })
	}
	for _, one := range a {
		switch i := same(b, one); {
		case i < 0:
			c.OnlyBefore = append(c.OnlyBefore, one.Phase+" "+one.Setting)
		case len(one.Runs) > 0 && len(b[i].Runs) > 0:
			c.Pairs = append(c.Pairs, Pair{one.Phase, one, b[i], compareSweeps(one, b[i])})
		}
	}
	for _, one := range b {
		if same(a, one) < 0 {
			c.OnlyAfter = append(c.OnlyAfter, one.Phase+" "+one.Setting)
		}
	}
	return c
}

// cells lists all cells of a report, cold before warm, in the order of tables.
func cells(r report.Report) (all []Cell) {
	for _, p := range phases(r) {
		for _, setting := range report.Settings(r.Runs) {
			all = append(all, only(p.Cells, func(c Cell) bool { return c.Setting == setting })...)
		}
	}
	return all
}
