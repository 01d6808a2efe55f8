package sweep

import (
	"math"
	"runtime/metrics"
	"time"
)

// generator is what this process has spent since it began: loadgen with all that it
// embeds. Two of them tell of the time between.
type generator struct {
	cpu   time.Duration // user and system; 0 where the system does not tell
	waits *metrics.Float64Histogram
}

// schedulerWaits is how long goroutines that could run had to wait for a processor.
const schedulerWaits = "/sched/latencies:seconds"

func readGenerator() generator {
	s := []metrics.Sample{{Name: schedulerWaits}}
	metrics.Read(s)
	g := generator{cpu: processCPU()}
	if s[0].Value.Kind() == metrics.KindFloat64Histogram {
		g.waits = s[0].Value.Float64Histogram()
	}
	return g
}

// wait is the share-th quantile of how long goroutines waited for a processor between
// before and g, in real seconds: the upper edge of its bucket. It is false where the
// runtime does not tell.
func (g generator) wait(before generator, share float64) (float64, bool) {
	if g.waits == nil || before.waits == nil || len(g.waits.Counts) != len(before.waits.Counts) {
		return 0, false
	}
	total := uint64(0)
	for i, n := range g.waits.Counts {
		total += n - before.waits.Counts[i]
	}
	if total == 0 {
		return 0, false
	}
	need, seen := uint64(math.Ceil(share*float64(total))), uint64(0)
	for i, n := range g.waits.Counts {
		if seen += n - before.waits.Counts[i]; seen >= max(1, need) {
			return edge(g.waits.Buckets, i), true
		}
	}
	return 0, false
}

// edge is the upper edge of bucket i, or the lower where that is infinite.
func edge(edges []float64, i int) float64 {
	if i+1 < len(edges) && !math.IsInf(edges[i+1], 1) {
		return edges[i+1]
	}
	return edges[i]
}
