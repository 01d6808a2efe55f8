package report

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func cold(groups ...[]Run) phase { return of(groups...).phases()[0] }

func TestSettingsThatCannotBeToldApartShareARank(t *testing.T) {
	p := cold(
		repeats("1", "cold", 0, 20, 20.1, 20.2),
		repeats("8", "cold", 0, 10, 10.2, 10.4),
		repeats("16", "cold", 0, 10.1, 10.3, 9.9),
	)
	if got := names(p.cells); got != "16:1 8:1 1:3 " {
		t.Errorf("ranks %s", got)
	}
	if p.toldFromAbove(1).String() != "no" || p.toldFromAbove(2).String() != "yes" || p.toldFromAbove(0).String() != "–" {
		t.Error("neighbours are told apart, or not, against the repeats")
	}
}

func TestAMachineThatGetsSlowerHidesNoDifferenceOfARound(t *testing.T) {
	p := cold(
		repeats("1", "cold", 0, 11, 12.1, 14.3, 17.6, 22),
		repeats("8", "cold", 0, 10, 11, 13, 16, 20), // faster by a tenth each time
	)
	if got := names(p.cells); got != "8:1 1:2 " {
		t.Errorf("ranks %s", got)
	}
	if v := compareSweeps(p.cells[0], p.cells[1]); v != alike {
		t.Errorf("in two sweeps, without rounds in common: %v", v)
	}
}

// The fastest has varied so much that it is told apart from none: 2 is still faster than
// 1 in every round.
func TestASizeThatIsToldToBeSlowerIsNoLeader(t *testing.T) {
	p := cold(
		repeats("1", "cold", 0, 11, 12.1, 14.3, 17.6, 22),
		repeats("2", "cold", 0, 10, 11, 13, 16, 20),
		repeats("8", "cold", 0, 9, 10, 12, 30, 35),
	)
	var sizes []int
	for _, c := range leaders(p.cells) {
		sizes = append(sizes, c.batchSize)
	}
	if !slices.Equal(sizes, []int{2, 8}) {
		t.Errorf("leaders %v of ranks %s", sizes, names(p.cells))
	}
}

func TestSmallStepsDoNotChainIntoOneRank(t *testing.T) {
	p := cold(
		repeats("4", "cold", 0, 10.0, 10.3, 10.6),
		repeats("2", "cold", 0, 10.5, 10.8, 11.1), // overlaps both
		repeats("1", "cold", 0, 11.0, 11.3, 11.6),
	)
	if got := names(p.cells); got != "4:1 2:1 1:3 " {
		t.Errorf("ranks %s", got)
	}
	if got := p.toldFromAbove(2).String(); got != "no" {
		t.Errorf("size 1 is told from 2: %s", got)
	}
}

func TestWithOneRepeatRanksOnlyFollowTheFigures(t *testing.T) {
	p := cold(repeats("1", "cold", 0, 20), repeats("2", "cold", 0, 10), repeats("4", "cold", 0, 10))
	if got := names(p.cells); got != "2:1 4:1 1:3 " {
		t.Errorf("ranks %s: equal figures share one", got)
	}
	if got := p.toldFromAbove(2).String(); got != "not enough repeats to tell" {
		t.Error(got)
	}
}

func TestRunsThatWereCutShortAreLeftOutWhereCompleteOnesExist(t *testing.T) {
	p := cold(
		repeats("4", "cold", 0, 10, 10, 10),
		[]Run{a(shape{setting: "4", phase: "cold", repeat: 4, wall: 0.1, completed: 60, unsent: 440})},
	)
	c := p.cells[0]
	if c.throughput != 50 || len(c.runs) != 3 || c.completed != 1560 || c.total != 2000 || !c.marked() {
		t.Errorf("got %+v", c)
	}
}

func TestARunWithFarFewerAnswersIsNotRanked(t *testing.T) {
	p := cold(
		repeats("4", "cold", 0, 10),
		[]Run{a(shape{setting: "8", phase: "cold", repeat: 1, wall: 1, completed: 300})}, // 200 failed at once
	)
	if got := names(p.cells); got != "4:1 8:0 " {
		t.Errorf("ranks %s", got)
	}
}

func TestAPromptThatAlwaysFailsKeepsNoSettingFromTheRanking(t *testing.T) {
	p := cold(
		[]Run{a(shape{setting: "4", phase: "cold", repeat: 1, wall: 10, completed: 499})},
		[]Run{a(shape{setting: "8", phase: "cold", repeat: 1, wall: 9, completed: 499})},
	)
	if got := names(p.cells); got != "8:1 4:2 " {
		t.Errorf("ranks %s", got)
	}
	if !p.cells[0].marked() || p.cells[0].label().String() != "8 *" {
		t.Error("figures of fewer than all prompts are not marked")
	}
}

func TestSecondsPerItemAreWallTimePerAnswer(t *testing.T) {
	p := cold([]Run{a(shape{setting: "4", phase: "cold", repeat: 1, wall: 10, completed: 400, total: 500})})
	if got := p.cells[0].perItem; got != 0.025 {
		t.Errorf("got %v", got)
	}
}

func TestRanksFollowThroughputAndForgetTheOrderOfRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var runs []Run
		for _, setting := range []string{"1", "2", "4", "unbatched"} {
			walls := rapid.SliceOfN(rapid.Float64Range(1, 100), 1, 4).Draw(t, setting)
			runs = append(runs, repeats(setting, "cold", 0, walls...)...)
		}
		cells := cold(runs).cells
		for i, c := range cells {
			switch {
			case i == 0 && c.rank != 1:
				t.Fatalf("the first has rank %d", c.rank)
			case i > 0 && (c.throughput > cells[i-1].throughput || c.rank < cells[i-1].rank || c.rank > i+1):
				t.Fatalf("ranks %s", names(cells))
			}
		}
		shuffled := rapid.Permutation(runs).Draw(t, "shuffled")
		if again := cold(shuffled).cells; names(again) != names(cells) || !slices.EqualFunc(again, cells, func(a, b cell) bool { return a.throughput == b.throughput }) {
			t.Fatalf("in another order: %s and %s", names(again), names(cells))
		}
	})
}
