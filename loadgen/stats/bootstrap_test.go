package stats

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestMedianIntervalHasKnownAnswers(t *testing.T) {
	if _, _, ok := MedianInterval([]float64{1, 2, 3, 4}, 0.95); ok {
		t.Error("four values have no interval")
	}
	low, high, ok := MedianInterval([]float64{7, 7, 7, 7, 7}, 0.95)
	if !ok || low != 7 || high != 7 {
		t.Errorf("equal values: %v to %v", low, high)
	}
	// Of five values the least is a resample's median with probability 0.058:
	// the ends of a 95 % interval are the range, those of an 80 % one are not.
	five := []float64{1, 2, 3, 4, 5}
	if low, high, _ := MedianInterval(five, 0.95); low != 1 || high != 5 {
		t.Errorf("95 %%: %v to %v, want 1 to 5", low, high)
	}
	if low, high, _ := MedianInterval(five, 0.80); low != 2 || high != 4 {
		t.Errorf("80 %%: %v to %v, want 2 to 4", low, high)
	}
}

func TestMedianIntervalHoldsTheMedianStaysInTheRangeAndRepeats(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sample := rapid.SliceOfN(rapid.Float64Range(0, 1e6), MinForInterval, 12).Draw(t, "sample")
		before := slices.Clone(sample)
		low, high, ok := MedianInterval(sample, 0.95)
		minSample, maxSample := Range(sample)
		if median := Median(sample); !ok || low < minSample || high > maxSample || low > median || high < median {
			t.Fatalf("%v to %v around %v", low, high, median)
		}
		if l, h, _ := MedianInterval(sample, 0.95); l != low || h != high || !slices.Equal(sample, before) {
			t.Fatal("two calls differ, or the sample was changed")
		}
		if l, h, _ := MedianInterval(sample, 0.5); l < low || h > high {
			t.Fatal("less confidence makes a wider interval")
		}
	})
}
