package figures

import (
	"cmp"
	"slices"
	"strings"

	"paceline/loadgen/report"
	"paceline/loadgen/stats"
)

// Cell is one setting in one phase, over all repeats.
type Cell struct {
	Setting, Mode, Phase string
	BatchSize            int

	All        []report.Run // every run
	Runs       []report.Run // the runs behind the figures
	Ranked     bool         // the figures may be compared with other cells'
	Failing    float64      // share of the prompts that failed or were dropped, if above MaxFailing; 0 otherwise
	Impossible []report.Run // runs whose token counts can't be true; in no figure
	Marked     bool         // the figures cover less than all prompts of all runs
	Rank       int          // in the phase, from 1; equal cells share it; 0 if not ranked
	Told       Verdict      // on the difference from the first cell of the phase

	Completed, Total int // prompts over every run

	Throughput  float64 // median of the runs, requests per second
	Low, High   float64 // range of the throughput
	Wall        float64 // median, seconds
	PerItem     float64 // median, seconds per completed prompt
	Effective   float64 // median effective batch size; 0 without batches
	CachedShare float64 // over all Runs, from 0 to 1; NaN if unknown
	Tokens      int64   // median prompt tokens of a run
}

// Interval is the bootstrap interval of a median throughput.
type Interval struct{ Low, High float64 }

// Confidence is the confidence of an Interval.
const Confidence = 0.95

// Phase holds what was measured in one state of the cache.
type Phase struct {
	Name  string // cold or warm
	Cells []Cell // by rank, unranked ones last

	Findings    []Findings
	Improvement Improvement
	Recommended Recommendation

	verdicts verdicts
}

// phases groups the runs by phase, cold before warm. It leaves out phases without runs.
func phases(r report.Report) (all []Phase) {
	if r.Config.Objective != nil { // its runs have other rates and don't compare
		return nil
	}
	for _, name := range []string{"cold", "warm"} {
		runs := only(r.Runs, func(run report.Run) bool { return run.Phase == name })
		if len(runs) > 0 {
			all = append(all, Phase{Name: name, Cells: newCells(runs)})
		}
	}
	for i := range all {
		p := &all[i]
		if r.Config.Arrival == nil {
			p.verdicts = decide(p.Cells, func(run report.Run) float64 { return run.RequestThroughput }, len(all))
			p.rank()
		} else { // an open loop's throughput is what was offered, so it ranks nothing
			p.verdicts = decide(p.Cells, func(run report.Run) float64 { return run.Due().LatencyFromIntended.Mean }, len(all))
			slices.SortStableFunc(p.Cells, func(a, b Cell) int { return cmp.Or(unranked(a, b), byPlace(a, b)) })
		}
		p.Recommended = p.recommend(r.Config)
		p.Improvement = p.improvement()
		if sides := p.sides(); len(sides) > 1 {
			for _, s := range sides {
				f := s.findings(r.Config)
				f.Side = s.name
				p.Findings = append(p.Findings, f)
			}
		} else {
			p.Findings = []Findings{p.findings(r.Config)}
		}
	}
	return all
}

// newCells groups the runs of one phase by their setting.
func newCells(runs []report.Run) (cells []Cell) {
	for _, name := range report.Settings(runs) {
		cells = append(cells, newCell(only(runs, func(r report.Run) bool { return r.Setting == name })))
	}
	return cells
}

func newCell(runs []report.Run) Cell {
	c := Cell{Setting: runs[0].Setting, Mode: runs[0].Mode, Phase: runs[0].Phase, BatchSize: runs[0].BatchSize, All: runs}
	lost, due := 0, 0
	for _, r := range runs {
		c.Completed += r.Completed
		c.Total += r.Total
		if whole(r) {
			lost, due = lost+r.Failed+r.Dropped(), due+r.Total
		}
	}
	if share := report.Share(int64(lost), int64(due)); share > MaxFailing {
		c.Failing = share
	}
	c.Impossible = only(runs, func(r report.Run) bool { return !possible(r) })
	answered := only(runs, func(r report.Run) bool { return r.Completed > 0 && possible(r) })
	c.Runs = only(answered, whole)
	c.Ranked = len(c.Runs) > 0 && c.Failing == 0 && len(c.Impossible) == 0
	if len(c.Runs) == 0 {
		c.Runs = answered
	}
	partial := slices.ContainsFunc(c.Runs, func(r report.Run) bool { return !r.Complete || r.Completed < r.Total })
	c.Marked = partial || len(c.Runs) < len(c.All) || c.Completed < c.Total
	c.Throughput = stats.Median(c.throughputs())
	c.Low, c.High = stats.Range(c.throughputs())
	c.Wall = c.Median(func(r report.Run) float64 { return r.WallSeconds })
	c.PerItem = c.Median(func(r report.Run) float64 { return r.WallSeconds / float64(r.Completed) })
	c.Effective = c.Median(func(r report.Run) float64 { return r.EffectiveBatchSize })
	c.Tokens = int64(c.Median(func(r report.Run) float64 { return float64(r.PromptTokens) }))
	var cached, prompt int64
	for _, r := range c.Runs {
		cached, prompt = cached+r.CachedTokens, prompt+r.PromptTokens
	}
	c.CachedShare = report.Run{
		CachedTokens: cached, PromptTokens: prompt,
		CachedUnknown: slices.ContainsFunc(c.Runs, func(r report.Run) bool { return r.CachedUnknown }),
	}.CachedShare()
	return c
}

// MaxFailing is the share of failed and dropped prompts above which a setting's figures can't be compared:
// they are of the prompts that were easy to answer, under less load than was asked for.
const MaxFailing = 0.01

// possible reports whether a run's token counts can be true.
func possible(r report.Run) bool { return r.Impossible() == "" }

// whole reports whether a run was not cut short.
func whole(r report.Run) bool {
	return r.WallSeconds > 0 && !r.Interrupted && r.Completed+r.Failed+r.Dropped() >= r.Total
}

func (c Cell) throughputs() []float64 {
	return each(c.Runs, func(r report.Run) float64 { return r.RequestThroughput })
}

// Interval returns the bootstrap interval of the throughput; nil with too few runs.
func (c Cell) Interval() *Interval {
	if low, high, ok := stats.MedianInterval(c.throughputs(), Confidence); ok {
		return &Interval{low, high}
	}
	return nil
}

// compared returns the throughputs of a ranked cell that are above 0.
func (c Cell) compared() (above []float64) {
	if c.Ranked {
		above = slices.DeleteFunc(c.throughputs(), func(v float64) bool { return !(v > 0) })
	}
	return above
}

// Median returns the median of a figure over the cell's runs.
func (c Cell) Median(f func(report.Run) float64) float64 { return stats.Median(each(c.Runs, f)) }

// timed returns the cell's runs that know when requests were due.
func (c Cell) timed() []report.Run {
	return only(c.Runs, func(r report.Run) bool { return r.Due().LatencyFromIntended.Count > 0 })
}

// due returns the mean latencies from the due time, of the timed runs.
func (c Cell) due() []float64 {
	return each(c.timed(), func(r report.Run) float64 { return r.Due().LatencyFromIntended.Mean })
}

// LeftOut returns how many runs the figures leave out.
func (c Cell) LeftOut() int { return len(c.All) - len(c.Runs) }

// Fixed reports whether the setting has a batch size.
func (c Cell) Fixed() bool { return c.Mode == "fixed" }

// Beside returns the part of a fixed setting's name after the size: "4 in flight, 0s"; empty if nothing
// else varies.
func (c Cell) Beside() string {
	if !c.Fixed() {
		return ""
	}
	return beside(c.Setting)
}

func beside(setting string) string {
	_, rest, _ := strings.Cut(setting, ", ")
	return rest
}

func (p Phase) find(setting string) (Cell, bool) {
	i := slices.IndexFunc(p.Cells, func(c Cell) bool { return c.Setting == setting && c.Ranked })
	if i < 0 {
		return Cell{}, false
	}
	return p.Cells[i], true
}

// sized returns the ranked cells that have a batch size, smallest first.
func (p Phase) sized() []Cell {
	sized := only(p.Cells, func(c Cell) bool { return c.Fixed() && c.Ranked })
	slices.SortStableFunc(sized, func(a, b Cell) int { return cmp.Compare(a.BatchSize, b.BatchSize) })
	return sized
}

// Measured returns the cells that have figures, sizes first as in plots.
func (p Phase) Measured() []Cell {
	cells := only(p.Cells, func(c Cell) bool { return len(c.Runs) > 0 })
	slices.SortStableFunc(cells, byPlace)
	return cells
}

// only returns the elements for which keep returns true.
func only[T any](all []T, keep func(T) bool) []T {
	return slices.DeleteFunc(slices.Clone(all), func(one T) bool { return !keep(one) })
}

func each(runs []report.Run, f func(report.Run) float64) []float64 {
	out := make([]float64, len(runs))
	for i, r := range runs {
		out[i] = f(r)
	}
	return out
}
