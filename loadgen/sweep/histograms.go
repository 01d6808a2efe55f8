package sweep

import (
	"time"

	"paceline/loadgen/report"
	"paceline/loadgen/stats"
)

// histograms counts the latencies and the waits in the proxy of what was answered, in
// time of the report.
func (m measurement) histograms(run *report.Run) {
	var latencies, waits []time.Duration
	for _, s := range m.samples {
		if !s.sent || s.err != nil {
			continue
		}
		latencies = append(latencies, time.Duration(float64(s.latency)*m.speed))
		if s.answer.BatchID != "" {
			waits = append(waits, time.Duration(float64(s.answer.QueueWait)*m.speed))
		}
	}
	run.LatencyHistogram, run.QueueWaitHistogram = stats.NewHistogram(latencies...), stats.NewHistogram(waits...)
}
