package stats

import (
	"math/rand/v2"
	"slices"
)

const (
	// MinForInterval is how many values an interval needs. With fewer, the resamples repeat so
	// much that the interval only restates the range.
	MinForInterval = 5

	// resamples is the number of draws: 50 of them lie beyond each end of a 95 % interval.
	resamples = 2000
)

// MedianInterval returns the percentile bootstrap interval of the median. The medians of resamples
// drawn with replacement lie in it with the given confidence: 0.95 for 95 %, clamped to 0 … 1. ok is
// false for fewer than MinForInterval values.
func MedianInterval(sample []float64, confidence float64) (low, high float64, ok bool) {
	if len(sample) < MinForInterval {
		return 0, 0, false
	}
	rng := fixedRandom()
	medians := make([]float64, resamples)
	drawn := make([]float64, len(sample))
	for i := range medians {
		for j := range drawn {
			drawn[j] = sample[rng.IntN(len(sample))]
		}
		slices.Sort(drawn)
		medians[i] = atShare(drawn, 0.50)
	}
	slices.Sort(medians)
	beyond := (1 - min(1, max(0, confidence))) / 2
	return atShare(medians, beyond), atShare(medians, 1-beyond), true
}

// fixedRandom returns the same sequence at each call, so that a report can be reproduced.
func fixedRandom() *rand.Rand { return rand.New(rand.NewPCG(1, 0)) }
