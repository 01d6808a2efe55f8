package stats

import (
	"math/rand/v2"
	"slices"
)

const (
	// MinForInterval is how many values an interval needs. Of fewer, resamples
	// repeat so much that the interval only says the range again.
	MinForInterval = 5

	// resamples steadies the ends of a 95 % interval: fifty lie beyond each.
	resamples = 2000
)

// MedianInterval returns the percentile bootstrap interval of the median: the medians of
// resamples drawn with replacement lie in it with the given confidence (0.95 for 95 %;
// cut to 0 … 1). ok is false for fewer than MinForInterval
// values.
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

// fixedRandom returns the same sequence at each call, so that a report written twice says
// the same.
func fixedRandom() *rand.Rand { return rand.New(rand.NewPCG(1, 0)) }
