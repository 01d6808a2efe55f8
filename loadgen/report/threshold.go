package report

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
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
var metrics = map[string]func(Run) float64{
	"mean": func(r Run) float64 { return r.Latency.Mean }, "p50": func(r Run) float64 { return r.Latency.P50 },
	"p90": func(r Run) float64 { return r.Latency.P90 }, "p95": func(r Run) float64 { return r.Latency.P95 },
	"p99": func(r Run) float64 { return r.Latency.P99 }, "max": func(r Run) float64 { return r.Latency.Max },
	"throughput": func(r Run) float64 { return r.RequestThroughput }, "tokens": func(r Run) float64 { return r.InputTokenThroughput },
	"cached": Run.CachedShare, "failed": func(r Run) float64 { return share(int64(r.Failed), int64(r.Total)) },
	"effective": func(r Run) float64 { return r.EffectiveBatchSize },

	// Of an open loop; 0 where a report does not tell of due times.
	"duemean": func(r Run) float64 { return r.fromDue().Mean }, "duep50": func(r Run) float64 { return r.fromDue().P50 },
	"duep90": func(r Run) float64 { return r.fromDue().P90 }, "duep95": func(r Run) float64 { return r.fromDue().P95 },
	"duep99": func(r Run) float64 { return r.fromDue().P99 }, "duemax": func(r Run) float64 { return r.fromDue().Max },
	"dropped": func(r Run) float64 { return share(int64(r.Dropped()), int64(r.Total)) },
	"late":    func(r Run) float64 { return share(int64(r.late()), int64(r.Total)) },
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
		return Threshold{}, fmt.Errorf("%q is no metric: must be one of %s", m[1], strings.Join(metricNames(), ", "))
	}
	value, err := strconv.ParseFloat(m[3], 64)
	if err != nil {
		return Threshold{}, fmt.Errorf("the value must be a number with s, ms, %% or nothing, got %q", m[3])
	}
	return Threshold{strings.TrimSpace(text), m[1], m[2] == ">", value * units[m[4]]}, nil
}

func metricNames() []string {
	var names []string
	for name := range metrics {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Failures are the thresholds that do not hold, in a sentence each. A metric's value
// for a setting is the median of its runs; a setting that has none fails nothing.
func (r Report) Failures(thresholds []Threshold) (failures []string) {
	for _, t := range thresholds {
		for _, p := range r.phases() {
			for _, c := range p.cells {
				if len(c.runs) == 0 {
					continue
				}
				got := c.median(metrics[t.metric])
				if t.above && got > t.value || !t.above && got < t.value {
					failures = append(failures, fmt.Sprintf("%s: %s is %s at %s, %s", t.text, t.metric, short(got), c.setting, p.name))
				}
			}
		}
	}
	return failures
}
