package report

import (
	"strings"

	"paceline/loadgen/stats"
)

// Latencies are those of one setting with the cache in one state, over all its runs
// that were not cut short.
type Latencies struct {
	Setting, Phase string
	Histogram      *stats.Histogram
}

// Name is fit for a file: cold-16, warm-16,4_in_flight,0s.
func (l Latencies) Name() string { return l.Phase + "-" + plainName(l.Setting) }

// plainName writes a setting's name without blanks.
func plainName(setting string) string {
	return strings.ReplaceAll(strings.ReplaceAll(setting, ", ", ","), " ", "_")
}

// Latencies joins the runs' histograms, in the order of tables. Settings whose runs have
// none are left out.
func (r Report) Latencies() (all []Latencies) {
	for _, p := range r.phases() {
		for _, setting := range settingsOf(r.Runs) {
			var of []*stats.Histogram
			for _, run := range r.Runs {
				if run.Setting == setting && run.Phase == p.name && !run.Interrupted && run.LatencyHistogram != nil && run.Completed > 0 {
					of = append(of, run.LatencyHistogram)
				}
			}
			if len(of) > 0 {
				all = append(all, Latencies{setting, p.name, stats.Merge(of...)})
			}
		}
	}
	return all
}
