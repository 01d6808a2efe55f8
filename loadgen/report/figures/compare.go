package figures

import (
	"slices"

	"paceline/loadgen/report"
	"paceline/loadgen/stats"
)

// Comparison compares the settings of two reports.
type Comparison struct {
	Before, After         report.Report // settled
	Pairs                 []Pair
	OnlyBefore, OnlyAfter []Cell
}

// Pair is one setting in one phase, in two reports.
type Pair struct {
	Before, After Cell
	Told          Verdict
}

// Against compares After with Before.
func (p Pair) Against() Against { return Against{p.Before, p.After, p.Told} }

// Compare pairs the settings that both reports measured, in the order of before.
func Compare(before, after report.Report) Comparison {
	c := Comparison{Before: before.Settled(), After: after.Settled()}
	a, b := cells(c.Before), cells(c.After)
	var of, with [][]float64
	for _, one := range a {
		i := slices.IndexFunc(b, one.same)
		if i >= 0 && len(one.Runs) > 0 && len(b[i].Runs) > 0 {
			c.Pairs = append(c.Pairs, Pair{Before: one, After: b[i]})
			of, with = append(of, one.compared()), append(with, b[i].compared())
		}
	}
	for i, d := range stats.Differences(of, with) {
		c.Pairs[i].Told = verdictOf(d, c.Pairs[i].Before.Throughput, c.Pairs[i].After.Throughput)
	}
	c.OnlyBefore = only(a, func(one Cell) bool { return !slices.ContainsFunc(b, one.same) })
	c.OnlyAfter = only(b, func(one Cell) bool { return !slices.ContainsFunc(a, one.same) })
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
		{"work", a.Config.Work, b.Config.Work}, {"simulated", a.Simulated, b.Simulated}, {"prompts", a.Source.Count, b.Source.Count},
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

func (c Cell) same(other Cell) bool { return c.Phase == other.Phase && c.Setting == other.Setting }

// cells lists all cells of a report, cold before warm, in the order of tables.
func cells(r report.Report) (all []Cell) {
	for _, p := range phases(r) {
		for _, setting := range report.Settings(r.Runs) {
			all = append(all, only(p.Cells, func(c Cell) bool { return c.Setting == setting })...)
		}
	}
	return all
}
