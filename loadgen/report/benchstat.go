package report

import (
	"fmt"
	"io"
	"strings"
)

// WriteBenchmarks writes each complete run as a line of Go's benchmark format, for
// benchstat to compare sweeps with: benchstat before/bench.txt after/bench.txt.
func WriteBenchmarks(w io.Writer, r Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "goos: %s\ngoarch: %s\npkg: paceline/loadgen\n", r.Environment.OS, r.Environment.Arch)
	for _, run := range r.Runs {
		if !run.Complete {
			continue
		}
		fmt.Fprintf(&b, "BenchmarkPrefill/setting=%s/cache=%s %d %.9g sec/op %.9g requests/s %.9g tokens/s %.9g p50-sec %.9g p99-sec %.9g cached/token\n",
			plainName(run.Setting), run.Phase, run.Completed, run.WallSeconds/float64(run.Completed), run.RequestThroughput, run.InputTokenThroughput,
			run.Latency.P50, run.Latency.P99, run.CachedShare())
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("bench.txt: %w", err)
	}
	return nil
}
