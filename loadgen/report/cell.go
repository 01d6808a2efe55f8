package report

import (
	"cmp"
	"math"
	"slices"

	"paceline/loadgen/stats"
)

// cell is one setting in one phase, over its repeats.
type cell struct {
	setting, mode string
	batchSize     int

	all     []Run // every run
	runs    []Run // those that the figures are of
	ranked  bool  // whether the figures may be compared with other cells'
	partial bool  // the figures are of fewer than all prompts

	throughput  float64 // median of the runs, requests per second
	low, high   float64 // its range
	wall        float64 // median, seconds
	perItem     float64 // median, seconds per completed prompt
	effective   float64 // median effective batch size; 0 where there are no batches
	cachedShare float64 // over all these runs

	completed, total int // over every run
	rank             int // from 1, in the phase; equal ones share it; 0 if not ranked
}

// phase is what was measured with the cache in one state.
type phase struct {
	name  string
	cells []cell // by rank, those without one at the end
}

// phases groups the runs, cold before warm. A phase without runs is left out.
func (r Report) phases() []phase {
	var out []phase
	for _, name := range []string{"cold", "warm"} {
		runs := slices.DeleteFunc(slices.Clone(r.Runs), func(run Run) bool { return run.Phase != name })
		if len(runs) > 0 {
			cells := rankCells(newCells(runs))
			if r.Config.Arrival != nil { // an open loop's throughput is what was offered: it ranks nothing
				cells = byPlace(cells)
			}
			out = append(out, phase{name, cells})
		}
	}
	return out
}

// newCells groups the runs of one phase by their setting.
func newCells(runs []Run) []cell {
	most := 0.0
	for _, r := range runs {
		most = max(most, r.answeredShare())
	}
	var cells []cell
	for _, name := range settingsOf(runs) {
		of := slices.DeleteFunc(slices.Clone(runs), func(r Run) bool { return r.Setting != name })
		cells = append(cells, newCell(of, most))
	}
	return cells
}

func newCell(runs []Run, most float64) cell {
	c := cell{setting: runs[0].Setting, mode: runs[0].Mode, batchSize: runs[0].BatchSize, all: runs}
	for _, r := range runs {
		c.completed += r.Completed
		c.total += r.Total
	}
	c.runs = slices.DeleteFunc(slices.Clone(runs), func(r Run) bool { return !comparesWith(r, most) })
	c.ranked = len(c.runs) > 0
	if !c.ranked {
		c.runs = slices.DeleteFunc(slices.Clone(runs), func(r Run) bool { return r.Completed <= 0 })
	}
	c.partial = slices.ContainsFunc(c.runs, func(r Run) bool { return !r.Complete || r.Completed < r.Total })
	c.throughput = stats.Median(c.throughputs())
	c.low, c.high = stats.Range(c.throughputs())
	c.wall = c.median(func(r Run) float64 { return r.WallSeconds })
	c.perItem = c.median(func(r Run) float64 { return r.WallSeconds / float64(r.Completed) })
	c.effective = c.median(func(r Run) float64 { return r.EffectiveBatchSize })
	c.cachedShare = pooledShare(c.runs)
	return c
}

// fewestAnswered is the share of the largest part of its requests that any run of the
// phase answered. A pass without a twentieth of its prompts is another load; one
// without a prompt that is too long for the model is not. Parts and not numbers,
// because a warm-up leaves more requests to one repeat than to another.
const fewestAnswered = 0.95

// comparesWith says whether a run's figures may stand beside other settings': it
// was not cut short, and answered about as much as any other.
func comparesWith(r Run, most float64) bool {
	return r.Completed > 0 && r.WallSeconds > 0 && !r.Interrupted && r.endedAll() && r.answeredShare() >= fewestAnswered*most
}

func (c cell) throughputs() []float64 {
	return each(c.runs, func(r Run) float64 { return r.RequestThroughput })
}

func (c cell) median(f func(Run) float64) float64 { return stats.Median(each(c.runs, f)) }

// busyShare is the median share of time in which the server computed.
func (c cell) busyShare() (busy float64, ok bool) {
	var shares []float64
	for _, r := range c.runs {
		if share, ok := r.busyShare(); ok {
			shares = append(shares, share)
		}
	}
	return stats.Median(shares), len(shares) > 0
}

func (c cell) fixed() bool { return c.mode == "fixed" }

func each(runs []Run, f func(Run) float64) []float64 {
	out := make([]float64, len(runs))
	for i, r := range runs {
		out[i] = f(r)
	}
	return out
}

// place orders settings in tables: sizes first, then auto, unbatched and direct.
func place(mode string, size int) int {
	switch mode {
	case "fixed":
		return size
	case "auto":
		return math.MaxInt32 - 2
	case "unbatched":
		return math.MaxInt32 - 1
	}
	return math.MaxInt32
}

func (p phase) find(setting string) (cell, bool) {
	i := slices.IndexFunc(p.cells, func(c cell) bool { return c.setting == setting && c.ranked })
	if i < 0 {
		return cell{}, false
	}
	return p.cells[i], true
}

// sized lists the ranked cells of set batch sizes, smallest size first.
func (p phase) sized() []cell {
	sized := slices.DeleteFunc(slices.Clone(p.cells), func(c cell) bool { return !c.fixed() || !c.ranked })
	slices.SortStableFunc(sized, func(a, b cell) int { return cmp.Compare(a.batchSize, b.batchSize) })
	return sized
}
