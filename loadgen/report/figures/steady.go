package figures

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"paceline/loadgen/report"
	"paceline/loadgen/stats"
)

// Unsteady is what is wrong with the repeats of a phase. A median says little of them.
type Unsteady struct {
	Phase string
	Drift float64 // change of the throughput from the first run to the last, as a share; 0: none found
	Humps []Humps
}

// Humps is a cell whose repeats lie in two groups.
type Humps struct {
	Cell
	Below, Above   int     // repeats in each group
	LowEnd, HighOf float64 // the highest of the lower group and the lowest of the upper one, requests/s
}

const (
	minToDrift = 8    // runs of a phase from which a drift is looked for
	minHump    = 2    // repeats in each group
	humpGap    = 8    // the gap between two groups, as a multiple of the wider group
	driftRuns  = 2000 // shuffled orders that a drift is compared with
)

// unsteady looks for drift and for two groups of repeats; nil if all is steady.
func (p Phase) unsteady() *Unsteady {
	u := Unsteady{Phase: p.Name, Drift: drift(p.Cells)}
	for _, c := range p.Cells {
		if h, ok := humps(c); ok {
			u.Humps = append(u.Humps, h)
		}
	}
	if u.Drift == 0 && u.Humps == nil {
		return nil
	}
	return &u
}

// drift fits a line through the throughputs over their order in time, each as a multiple of its setting's
// median. It returns the change over the whole time, if that is at least Margin and at most ByChance of
// shuffled orders change as much.
func drift(cells []Cell) float64 {
	type at struct {
		run report.Run
		off float64
	}
	var all []at
	for _, c := range cells {
		for _, r := range c.Runs {
			if c.Ranked && len(c.Runs) > 1 && r.RequestThroughput > 0 {
				all = append(all, at{r, math.Log(r.RequestThroughput / c.Throughput)})
			}
		}
	}
	if len(all) < minToDrift {
		return 0
	}
	slices.SortStableFunc(all, func(a, b at) int {
		return cmp.Or(a.run.StartedAt.Compare(b.run.StartedAt), cmp.Compare(a.run.Repeat, b.run.Repeat))
	})
	offs := make([]float64, len(all))
	for i, a := range all {
		offs[i] = a.off
	}
	n := float64(len(offs))
	slope := func() (sum float64) { // times a constant
		for i, off := range offs {
			sum += off * (float64(i) - (n-1)/2)
		}
		return sum
	}
	found := slope()
	change := found * 12 / (n * (n*n - 1)) * (n - 1)
	if math.Abs(change) < math.Log1p(Margin) {
		return 0
	}
	random, as := rand.New(rand.NewPCG(1, 2)), 0 //nolint:gosec // the same report says the same
	for range driftRuns {
		random.Shuffle(len(offs), func(i, j int) { offs[i], offs[j] = offs[j], offs[i] })
		if math.Abs(slope()) >= math.Abs(found) {
			as++
		}
	}
	if float64(as) > ByChance*driftRuns {
		return 0
	}
	return math.Expm1(change)
}

// humps splits the repeats of a cell at their widest gap. They are two groups if the gap is much wider
// than either, and wide enough to matter.
func humps(c Cell) (h Humps, ok bool) {
	v := slices.Sorted(slices.Values(c.throughputs()))
	if !c.Ranked || len(v) < stats.MinForInterval {
		return h, false
	}
	at := minHump
	for i := minHump; i <= len(v)-minHump; i++ {
		if v[i]-v[i-1] > v[at]-v[at-1] {
			at = i
		}
	}
	gap := v[at] - v[at-1]
	wide := max(v[at-1]-v[0], v[len(v)-1]-v[at])
	return Humps{c, at, len(v) - at, v[at-1], v[at]}, gap > humpGap*wide && gap > 2*Margin*c.Throughput
}

func median(runs []report.Run, f func(report.Run) float64) float64 {
	return stats.Median(each(runs, f))
}
