package stats

import (
	"fmt"
	"io"
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The geometry of every Histogram. That it is one for all makes a merge exact.
const (
	histogramUnit   = time.Microsecond
	longestRecorded = 24 * time.Hour // longer ones are recorded as this
	digits          = 3              // significant ones: a value is told within 0.1 %

	lowest, highest = 1, int64(longestRecorded / histogramUnit) // in units; 0 has a bucket, too
)

// Histogram counts durations in HDR buckets: any percentile of it is within 0.1 %
// or a microsecond, and histograms of parts merge to exactly that of the whole. The
// zero value is not usable; it is not safe for concurrent use.
type Histogram struct{ h *hdrhistogram.Histogram }

// NewHistogram counts these durations. Negative ones count as 0.
func NewHistogram(durations ...time.Duration) *Histogram {
	h := &Histogram{emptyHistogram()}
	for _, d := range durations {
		_ = h.h.RecordValue(int64(min(max(d, 0), longestRecorded) / histogramUnit)) // within the range
	}
	return h
}

// NewHistogramOfSeconds counts durations that are told in seconds; those that are not
// finite are left out.
func NewHistogramOfSeconds(seconds []float64) *Histogram {
	durations := make([]time.Duration, 0, len(seconds))
	for _, s := range seconds {
		if !math.IsNaN(s) {
			durations = append(durations, time.Duration(math.Round(min(max(s, 0), longestRecorded.Seconds())*float64(time.Second))))
		}
	}
	return NewHistogram(durations...)
}

func emptyHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(lowest, highest, digits)
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

// Equal says whether both counted the same. Nil is equal to nil alone.
func (h *Histogram) Equal(other *Histogram) bool {
	if h == nil || other == nil {
		return h == other
	}
	return h.h.Equals(other.h)
}

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

// WritePercentiles writes the distribution in HdrHistogram's own text form (.hgrm), in
// milliseconds, which is what its plotter expects.
func (h *Histogram) WritePercentiles(w io.Writer) error {
	const ticksPerHalf = 5 // as HdrHistogram's own tools
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
