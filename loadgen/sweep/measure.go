package sweep

import (
	"cmp"
	"errors"
	"time"

	"paceline/loadgen/report"
	"paceline/loadgen/stats"
	"paceline/loadgen/target"
)

// measurement is the raw result of one pass.
type measurement struct {
	setting     Setting
	phase       Phase
	repeat      int
	started     time.Time
	from        time.Time // the end of the warm-up: requests due before it are not measured
	arrival     Arrival
	prompts     []target.Prompt // one for each sample
	samples     []sample
	wall        time.Duration
	interrupted bool

	cpuSeconds *float64 // of this process, in the pass
	wait       *report.SchedulerWait
}

// durations are times of the report.
type durations []time.Duration

// describe returns the summary of the durations, in seconds.
func (d durations) describe() stats.Summary {
	seconds := make([]float64, len(d))
	for i, one := range d {
		seconds[i] = one.Seconds()
	}
	return stats.Summarize(seconds)
}

// report returns the figures of the run. Only answers received in full count, tokens are counted by
// the server.
func (m measurement) report() report.Run {
	run := report.Run{
		Setting: m.setting.Name(), Mode: string(m.setting.Mode), BatchSize: m.setting.BatchSize,
		Phase: string(m.phase), Repeat: m.repeat, StartedAt: m.started,
		WallSeconds: m.wall.Seconds(),
		Errors:      map[string]int{}, ReleaseReasons: map[string]int{},
		Arrivals: &report.Arrivals{WarmUpSeconds: m.arrival.WarmUp.Seconds()},
	}
	m.setting.describe(&run)
	var latency, queueWait, firstToken durations
	var due dueTimes
	batches := map[string]target.Answer{} // one answer of each
	var traces []report.Trace
	for i, s := range m.samples {
		answers := m.prompts[i].Answers()
		if m.warmsUp(s) {
			run.Arrivals.WarmUp += answers
			continue
		}
		run.Total += answers
		if s.dropped {
			run.Arrivals.Dropped += answers
			continue
		}
		m.addDue(&due, run.Arrivals, s)
		if s.answer.TraceID != "" {
			traces = append(traces, m.trace(i))
		}
		switch {
		case !s.sent:
			continue
		case s.err != nil:
			run.Failed += answers
			run.Errors[causeOf(s.err)] += answers
			continue
		}
		run.Completed += answers
		m.addTokens(&run, i)
		latency = append(latency, s.latency)
		if s.answer.Attempts > 1 {
			run.Retried++
		}
		if s.answer.FirstToken > 0 {
			firstToken = append(firstToken, s.answer.FirstToken)
			run.OutputTokens += int64(s.answer.OutputTokens)
		}
		if s.answer.BatchID != "" {
			batches[s.answer.BatchID] = s.answer
			queueWait = append(queueWait, s.answer.QueueWait)
		}
	}
	run.Traces = report.WorthSeeing(traces)
	run.Batches = len(batches)
	members := 0 // from the receipts: a batch may hold other clients' requests and failed ones
	for _, b := range batches {
		run.ReleaseReasons[b.ReleaseReason]++
		members += b.BatchSize
	}
	if run.Batches > 0 {
		run.EffectiveBatchSize = float64(members) / float64(run.Batches)
	}
	if run.WallSeconds > 0 {
		run.RequestThroughput = float64(run.Completed) / run.WallSeconds
		run.InputTokenThroughput = float64(run.PromptTokens) / run.WallSeconds
	}
	run.Latency, run.QueueWait = latency.describe(), queueWait.describe()
	if len(firstToken) > 0 {
		ttft := firstToken.describe()
		run.TTFT = &ttft
	}
	a := run.Arrivals
	a.LatencyFromIntended, a.SendDelay, a.OwnDelay = due.latency.describe(), due.delay.describe(), due.own.describe()
	run.ProcessCPUSeconds, run.SchedulerWait = m.cpuSeconds, m.wait
	run.Interrupted = m.interrupted && run.Completed < run.Total
	run.Complete = run.Completed == run.Total
	return run
}

// addTokens adds the token counts of sample i, if they can be true.
func (m measurement) addTokens(run *report.Run, i int) {
	prompt, cached := int64(m.samples[i].answer.PromptTokens), int64(m.samples[i].answer.CachedTokens)
	why := report.ImpossibleCounts(prompt, cached, m.prompts[i].Bytes())
	run.CachedUnknown = run.CachedUnknown || m.samples[i].answer.CachedUnknown
	if why == "" {
		run.PromptTokens, run.CachedTokens = run.PromptTokens+prompt, run.CachedTokens+cached
		return
	}
	run.ImpossibleCounts++
	run.ImpossibleCause = cmp.Or(run.ImpossibleCause, why)
}

// dueTimes compare when requests were sent and answered with when they were due.
type dueTimes struct {
	latency, delay durations
	own            durations // the part of delay that loadgen itself caused
}

func (m measurement) addDue(d *dueTimes, a *report.Arrivals, s sample) {
	if s.intended.IsZero() {
		return
	}
	after := s.at.Sub(s.intended)
	delay, own := after, after-s.held
	d.delay, d.own = append(d.delay, delay), append(d.own, max(0, own))
	if s.err == nil {
		d.latency = append(d.latency, after+s.latency)
	}
	if m.arrival.Open() && delay > m.arrival.LateAfter {
		a.Late++
		if own > m.arrival.LateAfter {
			a.LateByItself++
		}
	}
}

// requests returns a line for each request that was sent or dropped.
func (m measurement) requests() []report.Request {
	var all []report.Request
	for i, s := range m.samples {
		if !s.sent && !s.dropped {
			continue
		}
		at, intended := s.at, s.intended
		if s.dropped {
			at = intended
		} else if intended.IsZero() { // an earlier turn failed
			intended = at
		}
		r := report.Request{
			Setting: m.setting.Name(), Phase: string(m.phase), Repeat: m.repeat, Trajectory: m.prompts[i].ID,
			IntendedSeconds: intended.Sub(m.started).Seconds(), SentSeconds: at.Sub(m.started).Seconds(),
			LatencySeconds: s.latency.Seconds(), LatencyFromIntendedSeconds: (at.Sub(intended) + s.latency).Seconds(),
			PromptTokens: s.answer.PromptTokens, CachedTokens: s.answer.CachedTokens, Questions: m.prompts[i].Questions,
			FirstTokenSeconds: s.answer.FirstToken.Seconds(), OutputTokens: s.answer.OutputTokens,
			BatchID: s.answer.BatchID, BatchSize: s.answer.BatchSize, ReleaseReason: s.answer.ReleaseReason,
			QueueWaitSeconds: s.answer.QueueWait.Seconds(), TraceID: s.answer.TraceID,
			Dropped: s.dropped, WarmUp: m.warmsUp(s),
		}
		if s.dropped {
			r.Error = errDropped.Error()
		} else if s.err != nil {
			r.Error = causeOf(s.err)
		}
		all = append(all, r)
	}
	return all
}

// warmsUp reports whether a sample belongs to the warm-up.
func (m measurement) warmsUp(s sample) bool {
	due := s.intended
	if due.IsZero() {
		due = s.at // an earlier turn failed, so this one was not sent
	}
	return !due.IsZero() && due.Before(m.from)
}

// causeOf names an error in a few words.
func causeOf(err error) string {
	if errors.Is(err, errTurnBefore) {
		return errTurnBefore.Error()
	}
	return target.Cause(err)
}

// trace describes the trace of sample i.
func (m measurement) trace(i int) report.Trace {
	s := m.samples[i]
	t := report.Trace{ID: s.answer.TraceID, Trajectory: m.prompts[i].ID, Seconds: s.latency.Seconds()}
	if s.err != nil {
		t.Cause = causeOf(s.err)
	}
	return t
}
