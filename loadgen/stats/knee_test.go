package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

// measuredAt makes repeats of a curve with relative noise.
func measuredAt(seed uint64, x []float64, repeats int, noise float64, curve func(float64) float64) [][]float64 {
	rng := rand.New(rand.NewPCG(seed, 0))
	values := make([][]float64, len(x))
	for i := range x {
		for range repeats {
			values[i] = append(values[i], curve(x[i])*(1+noise*rng.NormFloat64()))
		}
	}
	return values
}

var doublings = []float64{0, 1, 2, 3, 4, 5} // sizes 1 to 32

func TestAKneeIsFoundWhereTheCurveBends(t *testing.T) {
	for bend := 1; bend <= 4; bend++ {
		b := FindKnee(doublings, measuredAt(1, doublings, 3, 0.01, func(x float64) float64 { return 100 + 40*min(x, float64(bend)) }))
		if !b.Enough || !b.Found || b.At != bend || b.Low > bend || b.High < bend || math.Abs(b.Before-40) > 6 || math.Abs(b.After) > 6 {
			t.Errorf("bend at %d: %+v", bend, b)
		}
	}
}

func TestWhatHasNoKneeIsToldToHaveNone(t *testing.T) {
	for name, curve := range map[string]func(float64) float64{
		"flat":              func(float64) float64 { return 100 },
		"one line":          func(x float64) float64 { return 100 + 20*x },
		"falling":           func(x float64) float64 { return 300 - 20*x },
		"ever steeper":      func(x float64) float64 { return 100 + 10*math.Exp2(x) },
		"falling and steep": func(x float64) float64 { return 300 - 5*x - 40*max(0, x-3) },
	} {
		if b := FindKnee(doublings, measuredAt(2, doublings, 3, 0.02, curve)); b.Found || !b.Enough {
			t.Errorf("%s: %+v", name, b)
		}
	}
}

// TestOneLineIsSeldomTakenForAKnee is the test's own error: at most about 5 in 100,
// and less, because a knee must also bend down.
func TestOneLineIsSeldomTakenForAKnee(t *testing.T) {
	found := 0
	const tries = 40
	for seed := range uint64(tries) {
		if FindKnee(doublings[:5], measuredAt(seed, doublings[:5], 3, 0.05, func(x float64) float64 { return 100 + 10*x })).Found {
			found++
		}
	}
	if found > 4 {
		t.Errorf("%d of %d straight lines have a knee", found, tries)
	}
}

func TestTooFewSizesOrRepeatsHaveNoKnee(t *testing.T) {
	bent := func(x float64) float64 { return min(x, 1) }
	if FindKnee(doublings[:3], measuredAt(1, doublings[:3], 9, 0, bent)).Enough ||
		FindKnee(doublings, measuredAt(1, doublings, 2, 0, bent)).Enough {
		t.Error("three sizes, or two repeats, were enough")
	}
}

func TestAKneeDoesNotDependOnTheUnit(t *testing.T) {
	for seed := range uint64(8) {
		values := measuredAt(seed, doublings, 3, 0.05, func(x float64) float64 { return 10 + 10*min(x, 2) })
		b := FindKnee(doublings, values)
		for _, of := range values {
			for i := range of {
				of[i] *= 1024
			}
		}
		if c := FindKnee(doublings, values); c.Found != b.Found || c.At != b.At || c.ByChance != b.ByChance || c.Low != b.Low ||
			c.High != b.High {
			t.Fatalf("%+v in one unit, %+v in another", b, c)
		}
		if b.ByChance <= 0 || b.ByChance > 1 || b.Low > b.High {
			t.Fatalf("%+v", b)
		}
	}
}
