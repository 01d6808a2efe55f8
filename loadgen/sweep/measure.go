package sweep

import (
	"errors"
	"time"

	"paceline/loadgen/report"
	"paceline/loadgen/stats"
	"paceline/loadgen/target"
)

// measurement is what one run left behind, in real time.
type measurement struct {
	setting     Setting
	phase       Phase
	repeat      int
	started     time.Time
	from        time.Time // when the warm-up was over: requests due before are not measured
	arrival     Arrival
	prompts     []target.Prompt // one for each sample
	samples     []sample
	wall        time.Duration
	speed       float64
	cause       func(error) string
	interrupted bool

	before, after generator // around the run
}

// report turns the measurement into the figures of the report: only answers
// received in full count, tokens are the server's count, and times are
// multiplied by the speed of the simulated clock.
func (m measurement) report() report.Run {
	run := report.Run{
		Setting: m.setting.Name(), Mode: string(m.setting.Mode), BatchSize: m.setting.BatchSize,
		Phase: string(m.phase), Repeat: m.repeat, StartedAt: m.started,
		Total: len(m.samples), WallSeconds: m.seconds(m.wall),
		Errors: map[string]int{}, ReleaseReasons: map[string]int{},
	}
	var latency, queueWait []float64
	batches := map[string]target.Answer{} // one answer of each
	var traces []report.Trace
	for i, s := range m.samples {
		if m.warmsUp(s) {
			run.Total--
			continue
		}
		if s.answer.TraceID != "" {
			traces = append(traces, m.trace(i))
		}
		switch {
		case !s.sent:
			continue
		case s.err != nil:
			run.Failed++
			run.Errors[m.causeOf(s.err)]++
			continue
		}
		run.Completed++
		run.PromptTokens += int64(s.answer.PromptTokens)
		run.CachedTokens += int64(s.answer.CachedTokens)
		latency = append(latency, m.seconds(s.latency))
		if s.answer.BatchID != "" {
			batches[s.answer.BatchID] = s.answer
			queueWait = append(queueWait, m.seconds(s.answer.QueueWait))
		}
	}
	run.Traces = report.WorthSeeing(traces)
	run.Batches = len(batches)
	members := 0 // by the receipts: a batch may carry others' requests, and failed ones
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
	run.Arrivals = m.arrivals()
	m.tellGenerator(&run)
	run.Latency, run.QueueWait = stats.Summarize(latency), stats.Summarize(queueWait)
	run.Interrupted = m.interrupted && run.Completed < run.Total
	run.Complete = run.Completed == run.Total
	return run
}

// causeOf names an error in a word or few.
func (m measurement) causeOf(err error) string {
	if errors.Is(err, errTurnBefore) {
		return errTurnBefore.Error()
	}
	return m.cause(err)
}

// requests tells how each request that was sent ended, and which were dropped.
func (m measurement) requests() []report.Request {
	var all []report.Request
	for i, s := range m.samples {
		if !s.sent && !s.dropped {
			continue
		}
		r := report.Request{
			Setting: m.setting.Name(), Phase: string(m.phase), Repeat: m.repeat, Trajectory: m.prompts[i].ID, Kind: m.prompts[i].Kind,
			SentSeconds: m.seconds(s.at.Sub(m.started)), LatencySeconds: m.seconds(s.latency),
			PromptTokens: s.answer.PromptTokens, CachedTokens: s.answer.CachedTokens,
			BatchID: s.answer.BatchID, BatchSize: s.answer.BatchSize, ReleaseReason: s.answer.ReleaseReason,
			QueueWaitSeconds: m.seconds(s.answer.QueueWait), TraceID: s.answer.TraceID,
		}
		if s.err != nil {
			r.Error = m.causeOf(s.err)
		}
		m.tellDue(&r, s)
		all = append(all, r)
	}
	return all
}

// trace is the trace of sample i, which was sampled.
func (m measurement) trace(i int) report.Trace {
	s := m.samples[i]
	t := report.Trace{ID: s.answer.TraceID, Trajectory: m.prompts[i].ID, Seconds: m.seconds(s.latency)}
	if s.err != nil {
		t.Cause = m.causeOf(s.err)
	}
	return t
}

func (m measurement) seconds(d time.Duration) float64 { return d.Seconds() * m.speed }
