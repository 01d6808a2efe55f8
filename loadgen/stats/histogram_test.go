package stats

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func durations(t *rapid.T, label string) []time.Duration {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) time.Duration {
		return time.Duration(rapid.Int64Range(0, int64(2*time.Hour)).Draw(t, "duration"))
	}), 0, 40).Draw(t, label)
}

// counts is all that a histogram counted.
func counts(t interface{ Fatal(...any) }, h *Histogram) string {
	data, err := h.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestHistogramsOfPartsMergeToThatOfTheWholeInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := make([]*Histogram, rapid.IntRange(1, 5).Draw(t, "parts"))
		var all []time.Duration
		for i := range parts {
			part := durations(t, "part")
			parts[i] = NewHistogram(part...)
			all = append(all, part...)
		}
		whole := NewHistogram(all...)
		if merged := Merge(rapid.Permutation(parts).Draw(t, "order")...); counts(t, merged) != counts(t, whole) ||
			merged.Summary() != whole.Summary() {
			t.Fatalf("%+v merged, %+v at once", merged.Summary(), whole.Summary())
		}
	})
}

func TestHistogramIsWithinAThousandthOfTheSample(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sample := durations(t, "sample")
		h := NewHistogram(sample...).Summary()
		var seconds []float64
		for _, d := range sample {
			seconds = append(seconds, d.Seconds())
		}
		exact := Summarize(seconds)
		near := func(a, b float64) bool { return math.Abs(a-b) <= 1e-3*b+2e-6 }
		if h.Count != exact.Count || !near(h.Max, exact.Max) || !near(h.Mean, exact.Mean) {
			t.Fatalf("%+v, of the sample %+v", h, exact)
		}
	})
}

func TestHistogramSurvivesJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := NewHistogram(durations(t, "sample")...)
		data, err := json.Marshal(struct{ H *Histogram }{h})
		if err != nil {
			t.Fatal(err)
		}
		var back struct{ H *Histogram }
		if err := json.Unmarshal(data, &back); err != nil || counts(t, back.H) != counts(t, h) {
			t.Fatalf("%s: %v", data, err)
		}
	})
}

func TestWhatIsBeyondTheRangeIsCountedAtItsEnd(t *testing.T) {
	h := NewHistogram(-1, math.MaxInt64, 48*time.Hour, time.Second/2)
	if s := h.Summary(); s.Count != 4 || math.Abs(s.Max/86400-1) > 1e-3 || s.P50 != 0 && math.Abs(s.P50-0.5) > 1e-3 {
		t.Errorf("%+v", s)
	}
}

func FuzzHistogramText(f *testing.F) {
	text, err := NewHistogram(time.Second, time.Minute).MarshalText()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(""))
	f.Add([]byte("HISTFAAAACF42pNpmSzMwMDAxAABzFCaEUoz2X+AMIKZAEARAtM="))
	f.Fuzz(func(t *testing.T, text []byte) {
		var h Histogram
		if err := h.UnmarshalText(text); err != nil {
			return
		}
		again, err := h.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back Histogram
		if err := back.UnmarshalText(again); err != nil || counts(t, &back) != counts(t, &h) {
			t.Fatalf("%v", err)
		}
	})
}
