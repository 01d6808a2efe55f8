package stats

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The geometry of every Histogram. It is always the same, so merging is exact.
const (
	histogramUnit = time.Microsecond
	maxRecorded   = 24 * time.Hour // longer durations are recorded as this
	digits        = 3              // significant digits: a value is within 0.1 %

	minUnits, maxUnits = 1, int64(maxRecorded / histogramUnit) // in units; 0 has a bucket too
)

// Histogram counts durations in HDR buckets. Each percentile is within 0.1 % or a microsecond.
// Histograms of parts merge to exactly that of the whole. The zero value is not usable. A Histogram
// is not safe for concurrent use.
type Histogram struct{ h *hdrhistogram.Histogram }

// NewHistogram returns a Histogram of durations. Negative ones count as 0.
func NewHistogram(durations ...time.Duration) *Histogram {
	h := &Histogram{hdrhistogram.New(minUnits, maxUnits, digits)}
	for _, d := range durations {
		_ = h.h.RecordValue(int64(min(max(d, 0), maxRecorded) / histogramUnit)) // within the range
	}
	return h
}

// Merge returns the sum of histograms; nil ones count nothing.
func Merge(all ...*Histogram) *Histogram {
	merged := NewHistogram()
	for _, h := range all {
		if h != nil {
			merged.h.Merge(h.h) // drops nothing: the geometry is the same
		}
	}
	return merged
}

// Count returns how many durations were counted.
func (h *Histogram) Count() int { return int(h.h.TotalCount()) }

// Summary summarizes the durations, in seconds. Each value is within 0.1 %.
func (h *Histogram) Summary() Summary {
	if h.Count() == 0 {
		return Summary{}
	}
	at := func(p float64) float64 { return float64(h.h.ValueAtPercentile(p)) * histogramUnit.Seconds() }
	return Summary{
		Count: h.Count(), Mean: h.h.Mean() * histogramUnit.Seconds(),
		P50: at(50), P90: at(90), P95: at(95), P99: at(99), Max: at(100),
	}
}

// MarshalText encodes the histogram in HdrHistogram's compressed V2 format, in base64.
func (h *Histogram) MarshalText() ([]byte, error) {
	return h.h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
}

// UnmarshalText decodes what MarshalText wrote. It refuses a histogram of another geometry, because
// merging it would not be exact.
func (h *Histogram) UnmarshalText(text []byte) error {
	read, err := hdrhistogram.Decode(text)
	if err != nil {
		return fmt.Errorf("histogram: %w", err)
	}
	if read.LowestTrackableValue() != minUnits || read.HighestTrackableValue() != maxUnits || read.SignificantFigures() != digits {
		return fmt.Errorf("histogram: counts from %d to %d with %d digits, expected from %d to %d with %d",
			read.LowestTrackableValue(), read.HighestTrackableValue(), read.SignificantFigures(), minUnits, maxUnits, digits)
	}
	h.h = read
	return nil
}
