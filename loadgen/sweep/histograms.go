package sweep

import (
	"time"

	"paceline/loadgen/report"
	"paceline/loadgen/stats"
)

// durations are times of the report.
type durations []time.Duration

// summary describes them, in seconds.
func (d durations) summary() stats.Summary {
	seconds := make([]float64, len(d))
	for i, one := range d {
		seconds[i] = one.Seconds()
	}
	return stats.Summarize(seconds)
}

// scaled is a real time in time of the report.
func (m measurement) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) * m.speed)
}

// histograms counts the latencies and the waits in the proxy of what was answered, in
// time of the report.
func (m measurement) histograms(run *report.Run) {
	var latencies, waits durations
	for _, s := range m.samples {
		if !s.sent || s.err != nil || m.warmsUp(s) {
			continue
		}
		latencies = append(latencies, m.scaled(s.latency))
		if s.answer.BatchID != "" {
			waits = append(waits, m.scaled(s.answer.QueueWait))
		}
	}
	run.LatencyHistogram, run.QueueWaitHistogram = stats.NewHistogram(latencies...), stats.NewHistogram(waits...)
}
