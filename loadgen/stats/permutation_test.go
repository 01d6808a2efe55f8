package stats

import (
	"math"
	"math/bits"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestDifferenceByChanceHasKnownAnswers(t *testing.T) {
	cases := []struct {
		a, b []float64
		want float64
	}{
		{[]float64{1, 2, 3}, []float64{4, 5, 6}, 2.0 / 20}, // only this split and its mirror
		{[]float64{4, 5, 6}, []float64{1, 2, 3}, 2.0 / 20},
		{[]float64{1, 1, 1}, []float64{1, 1, 1}, 1},
		{[]float64{1, 2, 3, 4}, []float64{5, 6, 7, 8}, 2.0 / 70},
		{[]float64{1, 2, 6}, []float64{3, 4, 5}, 14.0 / 20},
		{[]float64{1, 1, 2}, []float64{2, 3, 3}, 4.0 / 20}, // either 2 may be the one that is left
		{[]float64{1, 2, 3, 4, 5}, []float64{6, 7, 8, 9, 10}, 2.0 / 252},
	}
	for _, c := range cases {
		if got, ok := DifferenceByChance(c.a, c.b); !ok || math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%v and %v: %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

func TestPairedDifferenceByChanceHasKnownAnswers(t *testing.T) {
	cases := []struct {
		a, b []float64
		want float64
	}{
		{[]float64{2, 4, 8, 3, 5}, []float64{1, 3, 7, 2, 4}, 2.0 / 32}, // each above its own, the values of both overlap
		{[]float64{1, 3, 7, 2, 4}, []float64{2, 4, 8, 3, 5}, 2.0 / 32},
		{[]float64{1, 2, 3, 4, 5}, []float64{1, 2, 3, 4, 5}, 1},
		{[]float64{1, 2, 4, 8, 16, 32}, []float64{2, 4, 8, 16, 32, 64}, 2.0 / 64}, // equal ranks
		{[]float64{10, 10, 10, 10, 10}, []float64{9, 8, 7, 6, 10.1}, 4.0 / 32},    // the smallest is the other way
		{[]float64{10, 10, 10, 10, 10}, []float64{9, 8, 7, 6, 10}, 2.0 / 16},      // one says nothing
	}
	for _, c := range cases {
		if got, ok := PairedDifferenceByChance(c.a, c.b); !ok || math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%v and %v: %v, want %v", c.a, c.b, got, c.want)
		}
	}
	if _, ok := PairedDifferenceByChance([]float64{1, 2, 3, 4}, []float64{2, 3, 4, 5}); ok {
		t.Error("four pairs were compared")
	}
	if _, ok := PairedDifferenceByChance([]float64{1, 2, 3, 4, 5}, []float64{2, 3, 4, 5, 6, 7}); ok {
		t.Error("values without a partner were compared")
	}
}

func TestThePairedTestCountsEachWayOfGivingSigns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(5, 9).Draw(t, "pairs")
		a, b := make([]float64, n), make([]float64, n)
		var sizes []float64
		var seen []bool
		for i := range n {
			a[i], b[i] = float64(rapid.IntRange(1, 4).Draw(t, "a")), float64(rapid.IntRange(1, 4).Draw(t, "b"))
			if a[i] != b[i] {
				sizes, seen = append(sizes, math.Abs(math.Log(a[i]/b[i]))), append(seen, a[i] > b[i])
			}
		}
		ranks := doubledRanks(sizes)
		apart := func(above func(int) bool) int {
			d := 0
			for i, r := range ranks {
				if above(i) {
					d += r
				} else {
					d -= r
				}
			}
			return max(d, -d)
		}
		seenApart, as := apart(func(i int) bool { return seen[i] }), 0
		for signs := range 1 << len(ranks) {
			if apart(func(i int) bool { return signs>>i&1 == 1 }) >= seenApart {
				as++
			}
		}
		want := float64(as) / float64(int(1)<<len(ranks))
		if got, ok := PairedDifferenceByChance(a, b); !ok || math.Abs(got-want) > 1e-9 {
			t.Fatalf("%v, want %v", got, want)
		}
	})
}

func TestTwoValuesSayNothing(t *testing.T) {
	if _, ok := DifferenceByChance([]float64{1, 2}, []float64{3, 4, 5}); ok {
		t.Error("two values were compared")
	}
	if _, ok := DifferenceByChance([]float64{1, 2, 3}, nil); ok {
		t.Error("nothing was compared")
	}
}

func TestOneDisturbedValueDoesNotDecide(t *testing.T) {
	slow := []float64{100, 101, 102, 103, 104}
	fast := []float64{110, 111, 112, 113, 114}
	far, _ := DifferenceByChance(slow, []float64{110, 111, 112, 113, 1e9})
	near, _ := DifferenceByChance(slow, fast)
	if far != near {
		t.Errorf("how far off one value is changed %v to %v", near, far)
	}
}

func TestLargeSamplesAreComparedToo(t *testing.T) {
	a, b := make([]float64, 30), make([]float64, 30)
	for i := range a {
		a[i], b[i] = float64(i), float64(i)+100
	}
	if p, ok := DifferenceByChance(a, b); !ok || p > 0.001 {
		t.Errorf("far apart: %v", p)
	}
	if p, ok := DifferenceByChance(a, a); !ok || p < 0.99 {
		t.Errorf("the same: %v", p)
	}
}

func TestTheTestCountsEachWayToSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.Map(rapid.IntRange(1, 5), func(n int) float64 { return float64(n) })
		a, b := rapid.SliceOfN(value, 3, 5).Draw(t, "a"), rapid.SliceOfN(value, 3, 5).Draw(t, "b")
		ranks := doubledRanks(slices.Concat(a, b))
		middle := len(a) * (len(ranks) + 1)
		apart := func(sum int) int { return max(sum-middle, middle-sum) }
		far, all := 0, 0
		for ways := range 1 << len(ranks) {
			if bits.OnesCount(uint(ways)) != len(a) {
				continue
			}
			split := 0
			for i, r := range ranks {
				split += r * (ways >> i & 1)
			}
			all++
			if apart(split) >= apart(sum(ranks[:len(a)])) {
				far++
			}
		}
		if got, _ := DifferenceByChance(a, b); math.Abs(got-float64(far)/float64(all)) > 1e-12 {
			t.Fatalf("%v, want %d of %d", got, far, all)
		}
	})
}

func TestDifferenceByChanceIsAShareAndSymmetric(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.Float64Range(1, 1000)
		a := rapid.SliceOfN(value, 3, 6).Draw(t, "a")
		b := rapid.SliceOfN(value, 3, 6).Draw(t, "b")
		beforeA := slices.Clone(a)
		p, ok := DifferenceByChance(a, b)
		q, _ := DifferenceByChance(b, a)
		if !ok || p <= 0 || p > 1 || math.Abs(p-q) > 1e-9 || !slices.Equal(a, beforeA) {
			t.Fatalf("%v and %v", p, q)
		}
		// A change of unit changes nothing; doubling is exact.
		for i := range a {
			a[i] *= 2
		}
		for i := range b {
			b[i] *= 2
		}
		if r, _ := DifferenceByChance(a, b); r != p {
			t.Fatalf("%v in one unit, %v in another", p, r)
		}
	})
}
