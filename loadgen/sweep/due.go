package sweep

import (
	"paceline/loadgen/report"
	"paceline/loadgen/stats"
	"paceline/loadgen/target"
)

// warmsUp says whether a sample is of the warm-up.
func (m measurement) warmsUp(s sample) bool {
	due := s.intended
	if due.IsZero() {
		due = s.at // it was not sent, because a turn before it failed
	}
	return !due.IsZero() && due.Before(m.from)
}

// arrivals tells how the requests met the times at which they were due.
func (m measurement) arrivals() *report.Arrivals {
	var a report.Arrivals
	var latency, delay, own durations
	for _, s := range m.samples {
		switch {
		case m.warmsUp(s):
			a.WarmUp++
			continue
		case s.dropped:
			a.Dropped++
			continue
		case s.intended.IsZero():
			continue
		}
		after := s.at.Sub(s.intended)
		delay, own = append(delay, m.scaled(after)), append(own, m.scaled(max(0, after-s.held)))
		if s.err == nil {
			latency = append(latency, m.scaled(after+s.latency))
		}
		if m.arrival.Open() && m.scaled(after) > m.arrival.LateAfter {
			a.Late++
			if m.scaled(after-s.held) > m.arrival.LateAfter {
				a.LateByItself++
			}
		}
	}
	a.WarmUpSeconds = m.arrival.WarmUp.Seconds()
	a.LatencyFromIntended, a.SendDelay, a.OwnDelay = latency.summary(), delay.summary(), own.summary()
	a.LatencyFromIntendedHistogram, a.SendDelayHistogram, a.OwnDelayHistogram = stats.NewHistogram(latency...), stats.NewHistogram(delay...), stats.NewHistogram(own...)
	return &a
}

// tellDue fills in when a request was due.
func (m measurement) tellDue(r *report.Request, s sample) {
	r.Dropped, r.WarmUp = s.dropped, m.warmsUp(s)
	switch {
	case s.dropped:
		r.Error = errDropped.Error()
		r.IntendedSeconds = m.seconds(s.intended.Sub(m.started))
		r.SentSeconds = r.IntendedSeconds
	case s.intended.IsZero():
		r.IntendedSeconds, r.LatencyFromIntendedSeconds = r.SentSeconds, r.LatencySeconds
	default:
		r.IntendedSeconds = m.seconds(s.intended.Sub(m.started))
		r.LatencyFromIntendedSeconds = m.seconds(s.at.Sub(s.intended) + s.latency)
	}
}

// tellGenerator fills in what the run has cost this process.
func (m measurement) tellGenerator(run *report.Run) {
	if cpu := (m.after.cpu - m.before.cpu).Seconds(); cpu > 0 {
		run.ProcessCPUSeconds = &cpu
	}
	p50, ok := m.after.wait(m.before, 0.5)
	if !ok {
		return
	}
	p99, _ := m.after.wait(m.before, 0.99)
	most, _ := m.after.wait(m.before, 1)
	run.SchedulerWait = &report.SchedulerWait{P50: p50, P99: p99, Max: most}
}

// WarmUpPrompts is how many of the prompts a sweep's WarmUp sends before its first run.
func WarmUpPrompts(prompts []target.Prompt) int { return len(warmUp(prompts)) }
