package stats

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestPercentilesInterpolateAsNumPyDoes(t *testing.T) {
	sample := []float64{4, 1, 3, 2}
	for p, want := range map[float64]float64{-5: 1, 0: 1, 25: 1.75, 50: 2.5, 90: 3.7, 100: 4, 120: 4} {
		if got := Percentile(sample, p); math.Abs(got-want) > 1e-12 {
			t.Errorf("percentile %v is %v, want %v", p, got, want)
		}
	}
	if Percentile(nil, 50) != 0 || Median([]float64{7}) != 7 || Median([]float64{3, 1, 2}) != 2 {
		t.Error("edges")
	}
}

func TestEmptySamplesAreZeroAndNotNaN(t *testing.T) {
	low, high := Range(nil)
	if got := Summarize(nil); got != (Summary{}) || Mean(nil) != 0 || low != 0 || high != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestSummaryIsOrdered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sample := rapid.SliceOfN(rapid.Float64Range(0, 1e6), 1, 50).Draw(t, "sample")
		s := Summarize(sample)
		low, high := Range(sample)
		if !(low <= s.P50 && s.P50 <= s.P90 && s.P90 <= s.P95 && s.P95 <= s.P99 && s.P99 <= s.Max && s.Max == high) {
			t.Fatalf("%+v", s)
		}
		if s.Mean < low-1e-6 || s.Mean > high+1e-6 || s.Count != len(sample) {
			t.Fatalf("%+v", s)
		}
	})
}

func TestSummaryForgetsTheOrderAndLeavesTheSampleAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sample := rapid.SliceOfN(rapid.Float64Range(0, 1e6), 1, 30).Draw(t, "sample")
		before := slices.Clone(sample)
		shuffled := rapid.Permutation(sample).Draw(t, "shuffled")
		if Summarize(sample) != Summarize(shuffled) || !slices.Equal(sample, before) {
			t.Fatal("the order of the sample counts, or was changed")
		}
	})
}
