package sweep

import (
	"math"
	"runtime/metrics"
	"time"

	"paceline/loadgen/report"
)

// usage is what this process has used since it began: loadgen with all that it embeds.
type usage struct {
	cpu   time.Duration             // user and system; 0 where the system does not report it
	waits *metrics.Float64Histogram // how long runnable goroutines waited for a processor, in seconds
}

func readUsage() usage {
	s := []metrics.Sample{{Name: "/sched/latencies:seconds"}}
	metrics.Read(s)
	u := usage{cpu: processCPU()}
	if s[0].Value.Kind() == metrics.KindFloat64Histogram {
		u.waits = s[0].Value.Float64Histogram()
	}
	return u
}

// since returns what was used after before; nil for what is not known.
func (u usage) since(before usage) (cpuSeconds *float64, wait *report.SchedulerWait) {
	if cpu := (u.cpu - before.cpu).Seconds(); cpu > 0 {
		cpuSeconds = &cpu
	}
	if p50, ok := u.wait(before, 0.5); ok {
		p99, _ := u.wait(before, 0.99)
		longest, _ := u.wait(before, 1)
		wait = &report.SchedulerWait{P50: p50, P99: p99, Max: longest}
	}
	return cpuSeconds, wait
}

// wait returns the share-th quantile of the waits between before and u, in real seconds:
// the upper edge of its bucket. It returns false where the runtime reports no waits.
func (u usage) wait(before usage, share float64) (float64, bool) {
	if u.waits == nil || before.waits == nil || len(u.waits.Counts) != len(before.waits.Counts) {
		return 0, false
	}
	total := uint64(0)
	for i, n := range u.waits.Counts {
		total += n - before.waits.Counts[i]
	}
	need, seen := uint64(math.Ceil(share*float64(total))), uint64(0)
	edges := u.waits.Buckets
	for i, n := range u.waits.Counts {
		if seen += n - before.waits.Counts[i]; total == 0 || seen < max(1, need) {
			continue
		}
		if i+1 < len(edges) && !math.IsInf(edges[i+1], 1) {
			return edges[i+1], true
		}
		return edges[i], true
	}
	return 0, false
}
