package sweep

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"paceline/loadgen/report"
	"paceline/loadgen/report/figures"
)

// Settings that stop early have fewer rounds in common, and repeats that happen to agree. The decision on
// what differs still errs in one sweep of 20: in 47 of 1000.
func TestStoppingEarlyDoesNotSplitEqualSettings(t *testing.T) {
	plan := Plan{Repeats: 20, StopWhen: 0.02, Phases: []Phase{Cold}}
	for _, size := range []uint32{1, 4, 16} {
		plan.Settings = append(plan.Settings, Setting{Mode: ModeFixed, BatchSize: int(size)})
	}
	const sweeps = 100
	rng, split, measured := rand.New(rand.NewPCG(1, 2)), 0, 0
	for range sweeps {
		var r report.Report
		for _, c := range plan.order() {
			if plan.enough(c.setting, r.Runs) {
				continue
			}
			rate := 100 * math.Exp(0.03*rng.NormFloat64())
			r.Runs = append(r.Runs, report.Run{
				Setting: c.setting.Name(), Mode: "fixed", BatchSize: c.setting.BatchSize, Phase: "cold", Repeat: c.repeat, Total: 100, Completed: 100,
				Complete: true, WallSeconds: 100 / rate, RequestThroughput: rate, PromptTokens: 1000,
			})
		}
		measured += len(r.Runs)
		if slices.ContainsFunc(figures.Of(r).Phases[0].Cells, func(c figures.Cell) bool { return c.Rank != 1 }) {
			split++
		}
	}
	repeats := float64(measured) / float64(sweeps*len(plan.Settings))
	text := fmt.Sprintf("%d of %d sweeps split equal settings, after %.1f repeats", split, sweeps, repeats)
	t.Log(text)
	if split > sweeps*7/100 {
		t.Error(text)
	}
}
