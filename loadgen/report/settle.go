package report

import (
	"math"
	"slices"

	"paceline/loadgen/stats"
)

// Settled returns the report with what follows from its own fields filled in, and
// with finite numbers only: JSON knows no others, and hours of measuring must
// not be lost to one of them. A figure that was not finite becomes 0, and its
// run says so. Every format writes a settled report.
func (r Report) Settled() Report {
	r.FormatVersion = FormatVersion
	r.Environment.Args = present(r.Environment.Args)
	r.Files = present(r.Files)
	r.Config.MaxWaitSeconds, _ = finite(r.Config.MaxWaitSeconds)
	r.Server.LoadSeconds = finiteOrNil(r.Server.LoadSeconds)
	if r.Simulation != nil {
		sim := *r.Simulation
		sim.Speed, _ = finite(sim.Speed)
		r.Simulation = &sim
	}
	if r.EnvExec != nil {
		r.EnvExec = r.EnvExec.settled()
	}
	runs := make([]Run, len(r.Runs))
	for i, run := range r.Runs {
		runs[i] = run.settled(r.Speed())
	}
	r.Runs = runs
	if len(r.Config.Settings) == 0 {
		r.Config.Settings = Settings(runs)
	}
	return r
}

func (e EnvExec) settled() *EnvExec {
	e.StepsCovered = "all"
	for _, v := range []*float64{&e.MeanSeconds, &e.TotalSeconds, &e.FirstFiveMean, &e.FirstFiveTotal, &e.MeanSecondsAStep} {
		*v, _ = finite(*v)
	}
	return &e
}

func (r Run) settled(speed float64) Run {
	r.ServerBusySeconds = finiteOrNil(r.ServerBusySeconds)
	r.ProcessCPUSeconds = finiteOrNil(r.ProcessCPUSeconds)
	r.Notes = slices.Clone(r.Notes)
	if r.WallClockSeconds == 0 {
		r.WallClockSeconds = r.WallSeconds / speed
	}
	for _, f := range []struct {
		name  string
		value *float64
	}{
		{"wall_seconds", &r.WallSeconds},
		{"wall_clock_seconds", &r.WallClockSeconds},
		{"request_throughput", &r.RequestThroughput},
		{"input_token_throughput", &r.InputTokenThroughput},
		{"effective_batch_size", &r.EffectiveBatchSize},
	} {
		r.settle(f.name, f.value)
	}
	r.settleSummary("latency_seconds", &r.Latency)
	r.settleSummary("queue_wait_seconds", &r.QueueWait)
	if r.Arrivals != nil {
		a := *r.Arrivals
		r.settleSummary("latency_from_intended_seconds", &a.LatencyFromIntended)
		r.settleSummary("send_delay_seconds", &a.SendDelay)
		r.settleSummary("own_delay_seconds", &a.OwnDelay)
		r.Arrivals = &a
	}
	return r
}

func (r *Run) settleSummary(name string, s *stats.Summary) {
	for _, v := range []*float64{&s.Mean, &s.P50, &s.P90, &s.P95, &s.P99, &s.Max} {
		r.settle(name, v)
	}
}

func (r *Run) settle(name string, v *float64) {
	value, ok := finite(*v)
	if ok {
		return
	}
	*v = value
	if note := name + " was not a finite number and is written as 0"; !slices.Contains(r.Notes, note) {
		r.Notes = append(r.Notes, note)
	}
}

// finite is v, or 0 and false for NaN, the infinities, and numbers so large that
// arithmetic on two of them leads there.
func finite(v float64) (float64, bool) {
	if math.IsNaN(v) || math.Abs(v) > math.MaxFloat32 {
		return 0, false
	}
	return v, true
}

func finiteOrNil(v *float64) *float64 {
	if v == nil {
		return nil
	}
	if _, ok := finite(*v); !ok {
		return nil
	}
	return v
}

// present is the list, never nil: results.json holds [] and not null.
func present(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
