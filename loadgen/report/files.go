package report

import (
	"fmt"
	"io"
	"strings"

	"paceline/loadgen/stats"
)

// Latencies holds the latencies of one setting in one phase, over all runs that were not cut short and
// whose counts can be true.
type Latencies struct {
	Setting, Phase string
	Histogram      *stats.Histogram
}

// Name returns a file name: cold-16, warm-16,4_in_flight,0s.
func (l Latencies) Name() string { return l.Phase + "-" + plainName(l.Setting) }

// plainName returns a setting's name without blanks.
func plainName(setting string) string {
	return strings.ReplaceAll(strings.ReplaceAll(setting, ", ", ","), " ", "_")
}

// Latencies merges the runs' histograms, in the order of tables. It leaves out settings without any.
func (r Report) Latencies() (all []Latencies) {
	for _, phase := range []string{"cold", "warm"} {
		for _, setting := range Settings(r.Runs) {
			var of []*stats.Histogram
			for _, run := range r.Runs {
				if run.Setting == setting && run.Phase == phase && !run.Interrupted && run.LatencyHistogram != nil && run.Completed > 0 &&
					run.Impossible() == "" {
					of = append(of, run.LatencyHistogram)
				}
			}
			if len(of) > 0 {
				all = append(all, Latencies{setting, phase, stats.Merge(of...)})
			}
		}
	}
	return all
}

// WriteBenchmarks writes each complete run whose counts can be true as a line of Go's benchmark format, so that benchstat can
// compare sweeps: benchstat before/bench.txt after/bench.txt.
func WriteBenchmarks(w io.Writer, r Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "goos: %s\ngoarch: %s\npkg: paceline/loadgen\n", r.Environment.OS, r.Environment.Arch)
	benchmark := map[string]string{"": "Prefill", "score": "Score", "decide": "Decide", "generate": "Generate"}[r.Config.Work]
	for _, run := range r.Runs {
		if !run.Complete || run.Impossible() != "" {
			continue
		}
		fmt.Fprintf(&b, "Benchmark%s/setting=%s/cache=%s %d %.9g sec/op %.9g requests/s %.9g tokens/s",
			benchmark, plainName(run.Setting), run.Phase, run.Completed, run.WallSeconds/float64(run.Completed),
			run.RequestThroughput, run.InputTokenThroughput)
		fmt.Fprintf(&b, " %.9g p50-sec %.9g p99-sec", run.Latency.P50, run.Latency.P99)
		if !run.CachedUnknown {
			fmt.Fprintf(&b, " %.9g cached/token", run.CachedShare())
		}
		b.WriteByte('\n')
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("bench.txt: %w", err)
	}
	return nil
}
