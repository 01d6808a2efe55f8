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
	"paceline/loadgen/stats"
)

// Threshold is a bound that a sweep must keep: a metric, over all runs of a setting in one phase, must
// not be above or below a value.
type Threshold struct {
	text   string
	metric string
	above  bool // fails above the value; otherwise below
	value  float64
}

// metrics are the metrics of thresholds, each read from a run. Those of due times are 0 if a report
// does not have them.
var metrics = func() map[string]func(report.Run) float64 {
	part := func(n, of int) float64 { return report.Share(int64(n), int64(of)) }
	all := map[string]func(report.Run) float64{
		"throughput": func(r report.Run) float64 { return r.RequestThroughput },
		"tokens":     func(r report.Run) float64 { return r.InputTokenThroughput },
		"effective":  func(r report.Run) float64 { return r.EffectiveBatchSize },
		"cached":     report.Run.CachedShare,
		"failed":     func(r report.Run) float64 { return part(r.Failed, r.Total) },
		"dropped":    func(r report.Run) float64 { return part(r.Dropped(), r.Total) },
		"late":       func(r report.Run) float64 { return part(r.Due().Late, r.Total) },
	}
	for name, of := range map[string]func(stats.Summary) float64{
		"mean": func(s stats.Summary) float64 { return s.Mean }, "p50": func(s stats.Summary) float64 { return s.P50 },
		"p90": func(s stats.Summary) float64 { return s.P90 }, "p95": func(s stats.Summary) float64 { return s.P95 },
		"p99": func(s stats.Summary) float64 { return s.P99 }, "max": func(s stats.Summary) float64 { return s.Max },
	} {
		all[name] = func(r report.Run) float64 { return of(r.Latency) }
		all["due"+name] = func(r report.Run) float64 { return of(r.Due().LatencyFromIntended) }
	}
	return all
}()

// units are the units of a value, with their factors.
var units = map[string]float64{"": 1, "ms": 1e-3, "s": 1, "%": 1e-2, "/s": 1}

var thresholdForm = regexp.MustCompile(`^\s*([a-z0-9]+)\s*([<>])\s*([0-9.eE+-]+)\s*(ms|s|%|/s|)\s*$`)

// ParseThreshold parses a threshold: p99>2s, throughput<30, failed>1%, cached<40%. Its error says what
// was expected.
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

// Failures returns a sentence for each bound that was not kept. A metric's value for a setting is the
// median of its runs; a setting without runs fails nothing.
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
