package figures

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"paceline/loadgen/report"
)

// simulated makes a sweep of five sizes, unbatched and defaults, cold and warm. Rounds differ by 3 % and runs
// within a round by noise. gain is what size 1 lacks.
func simulated(rng *rand.Rand, repeats int, noise, gain float64) (r report.Report) {
	for repeat := range repeats {
		for _, phase := range []string{"cold", "warm"} {
			round := math.Exp(0.03 * rng.NormFloat64())
			for _, setting := range []string{"1", "2", "4", "8", "16", "unbatched", "defaults"} {
				wall := 20 * round * math.Exp(noise*rng.NormFloat64())
				if setting == "1" {
					wall *= 1 + gain
				}
				run := ended(setting, repeat+1, wall, 500, 0)
				run.Phase = phase
				r.Runs = append(r.Runs, run)
			}
		}
	}
	return r
}

// splits lists whatever a phase says of settings that differ, in ranks, conclusion, findings and table.
func splits(p Phase) (all []string) {
	for _, c := range p.Cells {
		if c.Rank != 1 || c.Told == Differ {
			all = append(all, "rank of "+c.Setting)
		}
	}
	r := p.Recommended
	if r.Choice != Smallest && r.Choice != Unclear || r.Why != NoGain {
		all = append(all, "conclusion "+string(r.Choice))
	}
	for _, f := range p.Findings {
		if c := f.Course; c.Ups+c.Downs > 0 || c.Whole.Told == Differ {
			all = append(all, "course")
		}
		if b := p.Limit(); b == nil || b.SmallTold == Differ || b.LargeTold == Differ {
			all = append(all, "bottleneck")
		}
	}
	for _, row := range p.Improvement.Rows {
		if row.Told == Differ {
			all = append(all, "improvement of "+row.Cell.Setting)
		}
	}
	return all
}

// atMostOneIn20 tries 400 times, for 3 and 5 repeats, and fails if wrong holds more than 20 times.
func atMostOneIn20(t *testing.T, seed uint64, wrong func(rng *rand.Rand, repeats int) bool) {
	const tries = 400
	for _, repeats := range []int{3, 5} {
		rng, found := rand.New(rand.NewPCG(uint64(repeats), seed)), 0
		for range tries {
			if wrong(rng, repeats) {
				found++
			}
		}
		t.Logf("%d repeats: %d of %d", repeats, found, tries)
		if found > tries/20 {
			t.Errorf("%d repeats: %d of %d", repeats, found, tries)
		}
	}
}

func TestAtMostOneIn20SweepsOfEqualSettingsSplitsThem(t *testing.T) {
	atMostOneIn20(t, 0, func(rng *rand.Rand, repeats int) bool {
		return slices.ContainsFunc(phases(simulated(rng, repeats, 0.03, 0)), func(p Phase) bool { return len(splits(p)) > 0 })
	})
}

func TestAtMostOneIn20ComparisonsOfEqualServersTellsThemApart(t *testing.T) {
	atMostOneIn20(t, 1, func(rng *rand.Rand, repeats int) bool {
		c := Compare(simulated(rng, repeats, 0.03, 0), simulated(rng, repeats, 0.03, 0))
		return slices.ContainsFunc(c.Pairs, func(p Pair) bool { return p.Told == Differ })
	})
}

// The power: how often the test finds what is there. Size 1 is slower than all others.
func TestHowOftenADifferenceOf5PercentIsFound(t *testing.T) {
	const sweeps = 100
	for _, c := range []struct {
		repeats    int
		noise      float64
		some, best float64 // shares at least
	}{{5, 0.03, 0.3, 0.2}, {10, 0.03, 0.8, 0.7}, {3, 0.01, 0.9, 0.85}} {
		rng, some, best, steps := rand.New(rand.NewPCG(uint64(c.repeats), 2)), 0, 0, 0
		for range sweeps {
			p := phases(simulated(rng, c.repeats, c.noise, 0.05))[0]
			one, _ := p.find("1")
			told := only(p.Improvement.Rows, func(a Against) bool { return a.Told == Differ })
			steps += len(told)
			if len(told) > 0 {
				some++
			}
			if one.Told == Differ {
				best++
			}
		}
		share := func(n int) float64 { return float64(n) / sweeps }
		text := fmt.Sprintf("%d repeats, %v %% noise: told apart from some setting %.2f, from the fastest %.2f, from each %.2f",
			c.repeats, 100*c.noise, share(some), share(best), share(steps)/6)
		t.Log(text)
		if share(some) < c.some || share(best) < c.best {
			t.Error(text)
		}
	}
}
