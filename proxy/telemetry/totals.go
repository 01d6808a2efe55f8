package telemetry

import "strings"

// Totals is what the admin page draws, counted since the start.
type Totals struct {
	Durations    Buckets           // requests that ended, by seconds
	Sizes        Buckets           // batches, by prompts
	Errors       map[string]uint64 // requests that ended with an error, by status
	SharedTokens float64
	PromptTokens float64
	CachedTokens float64
}

// Buckets are the counts of a histogram: Counts[i] values were at most Bounds[i], and Count
// is the number of all.
type Buckets struct {
	Bounds []float64
	Counts []uint64
	Count  uint64
}

// Totals returns the current totals.
func (m *Metrics) Totals() Totals {
	t := Totals{Durations: newBuckets(secondsBuckets), Sizes: newBuckets(sizeBuckets), Errors: map[string]uint64{}}
	families, _ := m.registry.Gather() // an error leaves out the metrics that have it
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			value, h := metric.GetCounter().GetValue(), metric.GetHistogram()
			into := &t.Durations
			switch family.GetName() {
			case "rpc_server_call_duration_seconds", "http_server_request_duration_seconds":
				for _, label := range metric.GetLabel() {
					switch code := label.GetValue(); {
					case label.GetName() == "rpc_response_status_code" && code != "OK":
						t.Errors["gRPC "+code] += h.GetSampleCount()
					case label.GetName() == "http_response_status_code" && strings.ContainsAny(code[:1], "45"):
						t.Errors["HTTP "+code] += h.GetSampleCount()
					}
				}
			case "paceline_batch_size":
				into = &t.Sizes
			case "paceline_shared_tokens_total":
				t.SharedTokens += value
				continue
			case "paceline_prompt_tokens_total":
				t.PromptTokens = value
				continue
			case "paceline_cached_tokens_total":
				t.CachedTokens = value
				continue
			default:
				continue
			}
			into.Count += h.GetSampleCount()
			for i, b := range h.GetBucket() {
				into.Counts[i] += b.GetCumulativeCount()
			}
		}
	}
	return t
}

func newBuckets(bounds []float64) Buckets { return Buckets{bounds, make([]uint64, len(bounds)), 0} }

// Since returns the values that came after earlier.
func (b Buckets) Since(earlier Buckets) Buckets {
	out := newBuckets(b.Bounds)
	out.Count = b.Count - earlier.Count
	for i := range out.Counts {
		out.Counts[i] = b.Counts[i] - earlier.Counts[i]
	}
	return out
}

// Quantile returns a quantile of the values, 0.5 for the median, interpolated within its
// bucket. It returns 0 if there are none, and at most the last bound.
func (b Buckets) Quantile(q float64) float64 {
	rank, low, below := q*float64(b.Count), 0.0, uint64(0)
	for i, n := range b.Counts {
		if float64(n) >= rank && n > below {
			return low + (b.Bounds[i]-low)*(rank-float64(below))/float64(n-below)
		}
		low, below = b.Bounds[i], n
	}
	if b.Count == 0 {
		return 0
	}
	return low
}
