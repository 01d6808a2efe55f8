package figures

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"paceline/loadgen/number"
	"paceline/loadgen/report"
)

// Threshold is a bound that a sweep must keep: a metric, over all runs of a setting
// with the cache in one state, must not be above or below a value.
type Threshold struct {
	text   string
	metric string
	above  bool // beyond is above; else below
	value  float64
}

// metrics are what a threshold may speak of, each read from a run.
var metrics = map[string]func(report.Run) float64{
	"mean": func(r report.Run) float64 { return r.Latency.Mean }, "p50": func(r report.Run) float64 { return r.Latency.P50 },
	"p90": func(r report.Run) float64 { return r.Latency.P90 }, "p95": func(r report.Run) float64 { return r.Latency.P95 },
	"p99": func(r report.Run) float64 { return r.Latency.P99 }, "max": func(r report.Run) float64 { return r.Latency.Max },
	"throughput": func(r report.Run) float64 { return r.RequestThroughput }, "tokens": func(r report.Run) float64 { return r.InputTokenThroughput },
	"cached": report.Run.CachedShare, "failed": func(r report.Run) float64 { return report.Share(int64(r.Failed), int64(r.Total)) },
	"effective": func(r report.Run) float64 { return r.EffectiveBatchSize },

	// Of an open loop; 0 where a report does not tell of due times.
	"duemean": func(r report.Run) float64 { return r.Due().LatencyFromIntended.Mean }, "duep50": func(r report.Run) float64 { return r.Due().LatencyFromIntended.P50 },
	"duep90": func(r report.Run) float64 { return r.Due().LatencyFromIntended.P90 }, "duep95": func(r report.Run) float64 { return r.Due().LatencyFromIntended.P95 },
	"duep99": func(r report.Run) float64 { return r.Due().LatencyFromIntended.P99 }, "duemax": func(r report.Run) float64 { return r.Due().LatencyFromIntended.Max },
	"dropped": func(r report.Run) float64 { return report.Share(int64(r.Dropped()), int64(r.Total)) },
	"late":    func(r report.Run) float64 { return report.Share(int64(r.Due().Late), int64(r.Total)) },
}

// units are what a value may end in, and what it is multiplied with.
var units = map[string]float64{"": 1, "ms": 1e-3, "s": 1, "%": 1e-2, "/s": 1}

var thresholdForm = regexp.MustCompile(`^\s*([a-z0-9]+)\s*([<>])\s*([0-9.eE+-]+)\s*(ms|s|%|/s|)\s*$`)

// ParseThreshold reads a threshold: p99>2s, throughput<30, failed>1%, cached<40%. An
// error says what was expected.
func ParseThreshold(text string) (Threshold, error) {
	m := thresholdForm.FindStringSubmatch(text)
	if m == nil {
		return Threshold{}, fmt.Errorf("must be a metric, > or <, and a value, such as p99>2s, got %q", text)
	}
	if _, known := metrics[m[1]]; !known {
		return Threshold{}, fmt.Errorf("%q is no metric: must be one of %s", m[1], strings.Join(slices.Sorted(maps.Keys(metrics)), ", "))
	}
	value, err := strconv.ParseFloat(m[3], 64)
	if err != nil {
		return Threshold{}, fmt.Errorf("the value must be a number with s, ms, %% or nothing, got %q", m[3])
	}
	return Threshold{strings.TrimSpace(text), m[1], m[2] == ">", value * units[m[4]]}, nil
}

// Failures returns the thresholds that do not hold, in a sentence each. A metric's value
// for a setting is the median of its runs; a setting that has none fails nothing.
func Failures(r report.Report, thresholds []Threshold) (failures []string) {
	for _, t := range thresholds {
		for _, p := range phases(r) {
			for _, c := range p.Cells {
				if len(c.Runs) == 0 {
					continue
				}
				got := c.Median(metrics[t.metric])
				if t.above && got > t.value || !t.above && got < t.value {
					failures = append(failures, fmt.Sprintf("%s: %s is %s at %s, %s", t.text, t.metric, number.Significant(got, 3), c.Setting, p.Name))
				}
			}
		}
	}
	return failures
}
