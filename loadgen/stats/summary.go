// Package stats holds the statistics that a report of few repeats can honestly use: the spread of a
// sample (summary.go), the certainty of its median (bootstrap.go), whether two samples
// differ by more than chance (difference.go), and a fit of costs (leastsquares.go).
//
// All functions are pure. None changes its arguments. Equal arguments give equal results, because
// random numbers have a fixed seed. Samples must hold finite numbers.
package stats

import (
	"math"
	"slices"
)

// Summary describes a sample, in the unit of the sample. All values are 0 if Count is 0.
type Summary struct {
	Count int     `json:"count"` // values in the sample
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"` // median
	P90   float64 `json:"p90"`
	P95   float64 `json:"p95"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
}

// Summarize describes a sample.
func Summarize(sample []float64) Summary {
	if len(sample) == 0 {
		return Summary{}
	}
	sorted := slices.Sorted(slices.Values(sample))
	return Summary{
		Count: len(sorted), Mean: Mean(sorted),
		P50: atShare(sorted, 0.50), P90: atShare(sorted, 0.90), P95: atShare(sorted, 0.95), P99: atShare(sorted, 0.99),
		Max: sorted[len(sorted)-1],
	}
}

// Mean returns the arithmetic mean; 0 for an empty sample.
func Mean(sample []float64) float64 {
	if len(sample) == 0 {
		return 0
	}
	sum := 0.0
	for _, v := range sample {
		sum += v
	}
	return sum / float64(len(sample))
}

// Median returns the middle value, or the mean of the two in the middle; 0 for an
// empty sample.
func Median(sample []float64) float64 { return Percentile(sample, 50) }

// Percentile interpolates linearly between the two nearest values, as NumPy and
// SGLang's own benchmark do. p is cut to 0 … 100. It is 0 for an empty sample.
func Percentile(sample []float64, p float64) float64 {
	if len(sample) == 0 {
		return 0
	}
	return atShare(slices.Sorted(slices.Values(sample)), min(1, max(0, p/100)))
}

// atShare requires a sorted sample that is not empty, and a share of 0 to 1.
func atShare(sorted []float64, share float64) float64 {
	at := share * float64(len(sorted)-1)
	low := int(math.Floor(at))
	if low >= len(sorted)-1 {
		return sorted[len(sorted)-1]
	}
	// Rounding must not lead past the upper neighbour.
	return min(sorted[low+1], sorted[low]+(at-float64(low))*(sorted[low+1]-sorted[low]))
}

// Range returns the smallest and the largest value; zeros for an empty sample.
func Range(sample []float64) (low, high float64) {
	if len(sample) == 0 {
		return 0, 0
	}
	return slices.Min(sample), slices.Max(sample)
}
