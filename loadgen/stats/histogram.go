package stats

import (
	"fmt"
	"io"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The geometry of every Histogram. That it is one for all makes a merge exact.
const (
	histogramUnit = time.Microsecond
	maxRecorded   = 24 * time.Hour // longer ones are recorded as this
	digits        = 3              // significant ones: a value is within 0.1 %

	lowest, highest = 1, int64(maxRecorded / histogramUnit) // in units; 0 has a bucket, too
)

// Histogram counts durations in HDR buckets: any percentile of it is within 0.1 %
// or a microsecond, and histograms of parts merge to exactly that of the whole. The
// zero value is not usable; it is not safe for concurrent use.
type Histogram struct{ h *hdrhistogram.Histogram }

// NewHistogram counts these durations. Negative ones count as 0.
func NewHistogram(durations ...time.Duration) *Histogram {
	h := &Histogram{hdrhistogram.New(lowest, highest, digits)}
	for _, d := range durations {
		_ = h.h.RecordValue(int64(min(max(d, 0), maxRecorded) / histogramUnit)) // within the range
	}
	return h
}

// Merge is the histogram of all that the given ones counted; nil ones count nothing.
func Merge(all ...*Histogram) *Histogram {
	merged := NewHistogram()
	for _, h := range all {
		if h != nil {
			merged.h.Merge(h.h) // drops nothing: the geometry is one for all
		}
	}
	return merged
}

// Count is how many durations it counted.
func (h *Histogram) Count() int { return int(h.h.TotalCount()) }

// Summary describes what was counted, in seconds: each value within 0.1 %.
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

// ticksPerHalf is how many percentiles a distribution lists on each half of the way that
// is left to 100 %, as HdrHistogram's own tools do.
const ticksPerHalf = 5

// Point is how long a share of what was counted took at most.
type Point struct{ Share, Seconds float64 }

// Spectrum returns the distribution as HdrHistogram's percentile plots show it: shares
// closer together towards 1, as far as so many can tell them, and the longest at the end.
func (h *Histogram) Spectrum() (points []Point) {
	n := float64(h.Count())
	for _, b := range h.h.CumulativeDistributionWithTicks(ticksPerHalf) {
		if p := (Point{b.Quantile / 100, float64(b.ValueAt) * histogramUnit.Seconds()}); (1-p.Share)*n >= 1 {
			points = append(points, p)
		}
	}
	return append(points, Point{1 - 1/(2*max(1, n)), h.Summary().Max})
}

// WritePercentiles writes the distribution in HdrHistogram's own text form (.hgrm), in
// milliseconds, which is what its plotter expects.
func (h *Histogram) WritePercentiles(w io.Writer) error {
	_, err := h.h.PercentilesPrint(w, ticksPerHalf, float64(time.Millisecond/histogramUnit))
	return err
}

// MarshalText writes it as HdrHistogram's compressed V2 form in base64.
func (h *Histogram) MarshalText() ([]byte, error) {
	return h.h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
}

// UnmarshalText reads what MarshalText wrote. A histogram of another geometry is
// refused, because merging it would not be exact.
func (h *Histogram) UnmarshalText(text []byte) error {
	read, err := hdrhistogram.Decode(text)
	if err != nil {
		return fmt.Errorf("histogram: %w", err)
	}
	if read.LowestTrackableValue() != lowest || read.HighestTrackableValue() != highest || read.SignificantFigures() != digits {
		return fmt.Errorf("histogram: counts from %d to %d with %d digits, expected from %d to %d with %d",
			read.LowestTrackableValue(), read.HighestTrackableValue(), read.SignificantFigures(), lowest, highest, digits)
	}
	h.h = read
	return nil
}
