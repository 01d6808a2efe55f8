package report

import (
	"cmp"
	"slices"

	"paceline/loadgen/stats"
)

// cell is one setting in one phase, over its repeats.
type cell struct {
	setting, mode string
	batchSize     int
	phase         string
	runs          []Run // complete ones, if any is; else all that completed something

	throughput  float64 // median of the repeats, requests per second
	low, high   float64 // its range
	wall        float64 // median, seconds
	perItem     float64 // median, seconds per completed request
	cachedShare float64 // over all repeats
	effective   float64 // median effective batch size
	completed   int     // over all repeats
	total       int
	rank        int  // from 1; equal ones share it
	complete    bool // every run answered every prompt
}

func (c cell) throughputs() []float64 {
	return each(c.runs, func(r Run) float64 { return r.RequestThroughput })
}

func each(runs []Run, f func(Run) float64) []float64 {
	out := make([]float64, len(runs))
	for i, r := range runs {
		out[i] = f(r)
	}
	return out
}

// phases lists the phases that were measured, cold first.
func (r Report) phases() []string {
	var out []string
	for _, phase := range []string{"cold", "warm"} {
		if slices.ContainsFunc(r.Runs, func(run Run) bool { return run.Phase == phase }) {
			out = append(out, phase)
		}
	}
	return out
}

// cells lists a phase's cells by rank. A run that was cut short has a throughput
// of its own weather and not of its setting: it is left out wherever a complete
// one exists.
func (r Report) cells(phase string) []cell {
	bySetting := map[string]*cell{}
	var cells []*cell
	for _, run := range r.Runs {
		if run.Phase != phase {
			continue
		}
		c := bySetting[run.Setting]
		if c == nil {
			c = &cell{setting: run.Setting, mode: run.Mode, batchSize: run.BatchSize, phase: phase, complete: true}
			bySetting[run.Setting] = c
			cells = append(cells, c)
		}
		c.completed += run.Completed
		c.total += run.Total
		c.complete = c.complete && run.Complete
		if run.Completed > 0 {
			c.runs = append(c.runs, run)
		}
	}
	out := make([]cell, 0, len(cells))
	for _, c := range cells {
		if slices.ContainsFunc(c.runs, func(r Run) bool { return r.Complete }) {
			c.runs = slices.DeleteFunc(c.runs, func(r Run) bool { return !r.Complete })
		}
		c.sum()
		out = append(out, *c)
	}
	rankCells(out)
	return out
}

func (c *cell) sum() {
	c.throughput = stats.Median(c.throughputs())
	c.low, c.high = stats.Range(c.throughputs())
	c.wall = stats.Median(each(c.runs, func(r Run) float64 { return r.WallSeconds }))
	c.perItem = stats.Median(each(c.runs, func(r Run) float64 { return r.WallSeconds / float64(r.Completed) }))
	c.effective = stats.Median(each(c.runs, func(r Run) float64 { return r.EffectiveBatchSize }))
	var prompt, cached int64
	for _, r := range c.runs {
		prompt += r.PromptTokens
		cached += r.CachedTokens
	}
	c.cachedShare = Run{PromptTokens: prompt, CachedTokens: cached}.CachedShare()
}

// byChance is the share of chance below which two settings are taken to differ.
// With three repeats each it is reached exactly when every run of one is faster
// than every run of the other, which chance does one time in ten.
const byChance = 0.10

// verdict is what can be said of two cells.
type verdict int

const (
	tooFewRepeats verdict = iota
	alike
	differ
)

func compare(a, b cell) verdict {
	p, ok := stats.DifferenceByChance(a.throughputs(), b.throughputs())
	switch {
	case !ok:
		return tooFewRepeats
	case p <= byChance+1e-9:
		return differ
	}
	return alike
}

// rankCells sorts by throughput and ranks. A cell that can't be told apart from
// the first of the group before it shares that group's rank; with too few
// repeats to tell, ranks only follow the figures.
func rankCells(cells []cell) {
	slices.SortStableFunc(cells, func(a, b cell) int { return cmp.Compare(b.throughput, a.throughput) })
	first := 0 // of the group
	for i := range cells {
		if i > 0 && compare(cells[first], cells[i]) != alike {
			first = i
		}
		cells[i].rank = first + 1
	}
}

func find(cells []cell, setting string) (cell, bool) {
	i := slices.IndexFunc(cells, func(c cell) bool { return c.setting == setting })
	if i < 0 || len(cells[i].runs) == 0 {
		return cell{}, false
	}
	return cells[i], true
}

// bySize lists the cells of set batch sizes with any answer, smallest size first.
func bySize(cells []cell) []cell {
	sized := slices.DeleteFunc(slices.Clone(cells), func(c cell) bool { return c.mode != "fixed" || len(c.runs) == 0 })
	slices.SortFunc(sized, func(a, b cell) int { return cmp.Compare(a.batchSize, b.batchSize) })
	return sized
}
