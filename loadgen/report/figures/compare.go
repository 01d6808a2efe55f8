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
	Before, After Cell
	Told          Verdict
}

// Against sets the cell of after against that of before.
func (p Pair) Against() Against { return Against{p.Before, p.After, p.Told} }

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
			c.Pairs = append(c.Pairs, Pair{one, b[i], compareSweeps(one, b[i])})
		}
	}
	for _, one := range b {
		if same(a, one) < 0 {
			c.OnlyAfter = append(c.OnlyAfter, one.Phase+" "+one.Setting)
		}
	}
	return c
}

// Difference is a fact in which two reports differ.
type Difference struct {
	What          string
	Before, After any
}

// Differences lists what makes the two reports hard to compare.
func (c Comparison) Differences() (out []Difference) {
	a, b := c.Before, c.After
	for _, d := range []Difference{
		{"simulated", a.Simulated, b.Simulated}, {"prompts", a.Source.Count, b.Source.Count},
		{"bytes of all prompts", a.Source.PromptBytesTotal, b.Source.PromptBytesTotal},
		{"callers", a.Config.Concurrency, b.Config.Concurrency}, {"batches in flight", a.Config.MaxInFlight, b.Config.MaxInFlight},
		{"max_wait in seconds", a.Config.MaxWaitSeconds, b.Config.MaxWaitSeconds}, {"new tokens", a.Config.MaxNewTokens, b.Config.MaxNewTokens},
		{"SGLang's version", a.Server.Version, b.Server.Version},
		{"model", a.Server.Model, b.Server.Model}, {"device", a.Server.Device, b.Server.Device},
		{"texts sent", a.Server.TextsSent, b.Server.TextsSent}, {"cut short", a.Partial, b.Partial},
	} {
		if d.Before != d.After {
			out = append(out, d)
		}
	}
	return out
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
