package figures

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"paceline/loadgen/report"
	"paceline/loadgen/stats"
)

// ended makes a run of 500 prompts. Some were answered, some were never sent, and the rest failed.
func ended(setting string, repeat int, wall float64, completed, unsent int) report.Run {
	r := report.Run{
		Setting: setting, Mode: setting, Phase: "cold", Repeat: repeat, Total: 500, Completed: completed, Failed: 500 - completed - unsent,
		Complete: completed == 500, WallSeconds: wall, RequestThroughput: float64(completed) / wall, PromptTokens: int64(completed) * 2905,
		Latency: stats.Summary{Count: completed, P99: 77 * wall / 500},
	}
	if size, err := strconv.Atoi(setting); err == nil {
		r.Mode, r.BatchSize = "fixed", size
	}
	return r
}

// repeats makes a whole run for each time.
func repeats(setting string, walls ...float64) (runs []report.Run) {
	for i, wall := range walls {
		runs = append(runs, ended(setting, i+1, wall, 500, 0))
	}
	return runs
}

func of(groups ...[]report.Run) (r report.Report) {
	for _, g := range groups {
		r.Runs = append(r.Runs, g...)
	}
	return r
}

func cold(groups ...[]report.Run) Phase { return phases(of(groups...))[0] }

func ranks(cells []Cell) (text string) {
	for _, c := range cells {
		text += fmt.Sprintf("%s:%d ", c.Setting, c.Rank)
	}
	return text
}

func TestSettingsThatCannotBeToldApartShareARank(t *testing.T) {
	p := cold(
		repeats("1", 20, 20.1, 20.2),
		repeats("8", 10, 10.2, 10.4),
		repeats("16", 10.1, 10.1, 10.1),
	)
	if got := ranks(p.Cells); got != "16:1 8:1 1:3 " {
		t.Errorf("ranks %s", got)
	}
	if p.Cells[1].Told != Alike || p.Cells[2].Told != Differ || p.Cells[0].Told != "" {
		t.Error("settings are told apart from the first, or not, against the repeats")
	}
}

func TestAMachineThatGetsSlowerHidesNoDifferenceOfARound(t *testing.T) {
	p := cold(
		repeats("1", 11, 12.1, 14.3, 17.6, 22),
		repeats("8", 10, 11, 13, 16, 20), // faster by a tenth each time
	)
	if got := ranks(p.Cells); got != "8:1 1:2 " {
		t.Errorf("ranks %s", got)
	}
	before, after := of(repeats("4", 11, 12.1, 14.3, 17.6, 22)), of(repeats("4", 10, 11, 13, 16, 20))
	if v := Compare(before, after).Pairs[0].Told; v != Alike {
		t.Errorf("in two sweeps, without rounds in common: %v", v)
	}
}

func TestWhatIsCertainAndTooSmallToMatterIsNotToldApart(t *testing.T) {
	p := cold(repeats("8", 10.15, 10.15, 10.15), repeats("16", 10, 10, 10))
	if got := ranks(p.Cells); got != "16:1 8:1 " || p.Recommended.Take.BatchSize != 8 {
		t.Errorf("ranks %s, take %s", got, p.Recommended.Take.Setting)
	}
}

// 8 is not told apart from 16, which alone is told apart from single calls: to take 8 would be to say
// that batching gains nothing.
func TestOfEqualSizesOneThatGainsIsTaken(t *testing.T) {
	p := cold(
		repeats("unbatched", 10.35, 10.36, 10.34),
		repeats("8", 10.18, 10.17, 10.18),
		repeats("16", 10.00, 10.01, 10.01),
	)
	r := p.Recommended
	if got := ranks(p.Cells); got != "16:1 8:1 unbatched:3 " || r.Choice != Apart || r.Take.BatchSize != 16 || r.Why != Gains {
		t.Errorf("ranks %s, %s, take %s: %s", got, r.Choice, r.Take.Setting, r.Why)
	}
}

func TestWithOneRepeatRanksOnlyFollowTheFigures(t *testing.T) {
	p := cold(repeats("1", 20), repeats("2", 10), repeats("4", 10))
	if got := ranks(p.Cells); got != "2:1 4:1 1:3 " {
		t.Errorf("ranks %s: equal figures share one", got)
	}
	if got := p.Cells[2].Told; got != TooFew {
		t.Error(got)
	}
}

func TestRunsThatWereCutShortAreLeftOutWhereCompleteOnesExist(t *testing.T) {
	p := cold(
		repeats("4", 10, 10, 10),
		[]report.Run{ended("4", 4, 0.1, 60, 440)},
	)
	c := p.Cells[0]
	if c.Throughput != 50 || len(c.Runs) != 3 || c.Completed != 1560 || c.Total != 2000 || !c.Marked {
		t.Errorf("got %+v", c)
	}
}

func TestASettingWhosePromptsFailIsNotRankedThoughAllFailAlike(t *testing.T) {
	p := cold(
		[]report.Run{ended("4", 1, 10, 200, 0)}, // 300 failed
		[]report.Run{ended("8", 1, 1, 200, 0)},
		[]report.Run{ended("16", 1, 1, 494, 0)}, // 6 of 500 are more than 1 %
	)
	if got := ranks(p.Cells); got != "16:0 8:0 4:0 " || p.Recommended.Choice != NoSize {
		t.Errorf("ranks %s, %s", got, p.Recommended.Choice)
	}
}

func TestDroppedPromptsLeaveASurvivorsLatencyUnrecommended(t *testing.T) {
	dropping, fine := ended("8", 1, 1, 200, 300), ended("4", 1, 10, 500, 0)
	dropping.Arrivals = &report.Arrivals{Dropped: 300, LatencyFromIntended: stats.Summary{Count: 200, Mean: 0.1}}
	fine.Arrivals = &report.Arrivals{LatencyFromIntended: stats.Summary{Count: 500, Mean: 0.5}}
	r := of([]report.Run{dropping, fine})
	r.Config.Arrival = &report.Arrival{}
	f := Of(r)
	if got := f.Phases[0].Recommended; got.Take.Setting != "4" || len(f.Failing) != 1 || f.Failing[0].Failing != 0.6 {
		t.Errorf("take %s of %+v", got.Take.Setting, f.Failing)
	}
}

func TestARunWithImpossibleCountsHasNoFigureAndItsSettingIsNoCandidate(t *testing.T) {
	for name, spoil := range map[string]func(*report.Run){
		"none":        func(r *report.Run) { r.PromptTokens = 0 },
		"negative":    func(r *report.Run) { r.PromptTokens = -5 },
		"more cached": func(r *report.Run) { r.CachedTokens = r.PromptTokens + 1 },
		"as measured": func(r *report.Run) { r.ImpossibleCounts, r.ImpossibleCause = 1, "7 cached of 5 prompt tokens" },
	} {
		runs := append(repeats("4", 10, 10, 10), repeats("8", 5, 5, 5)...)
		spoil(&runs[3])
		f := Of(of(runs))
		p := f.Phases[0]
		if got := ranks(p.Cells); got != "4:1 8:0 " || len(p.Cells[1].Runs) != 2 || len(f.Miscounted) != 1 || p.Recommended.Take.Setting != "4" {
			t.Errorf("%s: ranks %s, %d runs, %d miscounted", name, got, len(p.Cells[1].Runs), len(f.Miscounted))
		}
	}
}

func TestAPromptThatAlwaysFailsKeepsNoSettingFromTheRanking(t *testing.T) {
	p := cold(
		[]report.Run{ended("4", 1, 10, 499, 0)},
		[]report.Run{ended("8", 1, 9, 499, 0)},
	)
	if got := ranks(p.Cells); got != "8:1 4:2 " {
		t.Errorf("ranks %s", got)
	}
	if !p.Cells[0].Marked {
		t.Error("figures of fewer than all prompts are not marked")
	}
}

func TestSecondsPerItemAreWallTimePerAnswer(t *testing.T) {
	p := cold([]report.Run{ended("4", 1, 10, 400, 0)})
	if got := p.Cells[0].PerItem; got != 0.025 {
		t.Errorf("got %v", got)
	}
}

func TestRanksFollowThroughputAndForgetTheOrderOfRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var runs []report.Run
		for _, setting := range []string{"1", "2", "4", "unbatched"} {
			walls := rapid.SliceOfN(rapid.Float64Range(1, 100), 1, 4).Draw(t, setting)
			runs = append(runs, repeats(setting, walls...)...)
		}
		cells := cold(runs).Cells
		for i, c := range cells {
			switch {
			case i == 0 && c.Rank != 1:
				t.Fatalf("the first has rank %d", c.Rank)
			case i > 0 && (c.Throughput > cells[i-1].Throughput || c.Rank < cells[i-1].Rank || c.Rank > i+1):
				t.Fatalf("ranks %s", ranks(cells))
			}
		}
		shuffled := rapid.Permutation(runs).Draw(t, "shuffled")
		if again := cold(shuffled).Cells; ranks(again) != ranks(cells) ||
			!slices.EqualFunc(again, cells, func(a, b Cell) bool { return a.Throughput == b.Throughput }) {
			t.Fatalf("in another order: %s and %s", ranks(again), ranks(cells))
		}
	})
}

// A warm-up in an open loop leaves each repeat another number of requests.
func TestRepeatsOfDifferentNumbersOfRequestsCompare(t *testing.T) {
	few, many := ended("8", 1, 10, 500, 0), ended("8", 2, 10, 500, 0)
	few.Total, few.Completed = 80, 80
	many.Total, many.Completed, many.Failed = 200, 199, 1
	if cells := newCells([]report.Run{few, many}); len(cells) != 1 || len(cells[0].Runs) != 2 {
		t.Errorf("%+v", cells)
	}
}

func TestDroppedRequestsEndARunAndDoNotFailIt(t *testing.T) {
	r := ended("8", 1, 10, 490, 10)
	if whole(r) {
		t.Error("a run that was cut short is whole")
	}
	if r.Arrivals = (&report.Arrivals{Dropped: 10}); !whole(r) {
		t.Errorf("%+v", r)
	}
}

func TestIfOnlyTheSizeVariesThereIsOneSide(t *testing.T) {
	p := cold(repeats("1", 10), repeats("2", 11), repeats("defaults", 9))
	if sides := p.sides(); len(sides) != 1 || sides[0].name != "" || len(sides[0].Cells) != len(p.Cells) {
		t.Errorf("%d sides", len(sides))
	}
}

// A tenth of the median latency spent waiting for a processor is told.
func TestASlowGeneratorIsToldFromASlowServer(t *testing.T) {
	run := report.Run{Latency: stats.Summary{Count: 9, P50: 0.1}, SchedulerWait: &report.SchedulerWait{P99: 0.004}}
	if run.Disturbed() {
		t.Error("4 ms of 100 ms")
	}
	run.SchedulerWait.P99 = 0.012
	if !run.Disturbed() {
		t.Error("12 ms of 100 ms")
	}
}
