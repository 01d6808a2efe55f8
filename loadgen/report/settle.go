package report

import (
	"math"
	"slices"
)

// Settled returns the report with derived fields filled in and with finite numbers only. JSON has no
// other numbers, and one of them must not cost hours of measurements. A figure that was not finite
// becomes 0, and its run has a note about it. Every format writes a settled report.
func (r Report) Settled() Report {
	r.FormatVersion = FormatVersion
	r.Environment.Args, r.Files = append([]string{}, r.Environment.Args...), append([]string{}, r.Files...) // never null in JSON
	r.Config.MaxWaitSeconds, _ = finite(r.Config.MaxWaitSeconds)
	r.Server.LoadSeconds = finiteOrNil(r.Server.LoadSeconds)
	if r.Simulation != nil {
		sim := *r.Simulation
		sim.Speed, _ = finite(sim.Speed)
		r.Simulation = &sim
	}
	if r.EnvExec != nil {
		e := *r.EnvExec
		e.StepsCovered = "all"
		for _, v := range []*float64{&e.MeanSeconds, &e.TotalSeconds, &e.FirstFiveMean, &e.FirstFiveTotal, &e.MeanSecondsAStep} {
			*v, _ = finite(*v)
		}
		r.EnvExec = &e
	}
	runs := make([]Run, len(r.Runs))
	for i, run := range r.Runs {
		runs[i] = run.settled()
	}
	r.Runs = runs
	if len(r.Config.Settings) == 0 {
		r.Config.Settings = Settings(runs)
	}
	return r
}

func (r Run) settled() Run {
	r.ServerBusySeconds, r.ProcessCPUSeconds = finiteOrNil(r.ServerBusySeconds), finiteOrNil(r.ProcessCPUSeconds)
	r.Notes = slices.Clone(r.Notes)
	if r.WallClockSeconds == 0 {
		r.WallClockSeconds = r.WallSeconds
	}
	settle := func(name string, values ...*float64) {
		for _, v := range values {
			if value, ok := finite(*v); !ok {
				*v = value
				r.note(name + " was not a finite number and is written as 0")
			}
		}
	}
	settle("wall_seconds", &r.WallSeconds)
	settle("wall_clock_seconds", &r.WallClockSeconds)
	settle("request_throughput", &r.RequestThroughput)
	settle("input_token_throughput", &r.InputTokenThroughput)
	settle("effective_batch_size", &r.EffectiveBatchSize)
	if r.Arrivals != nil {
		a := *r.Arrivals
		r.Arrivals = &a
	}
	if r.TTFT != nil {
		t := *r.TTFT
		r.TTFT = &t
	}
	for _, d := range r.distributions() {
		settle(d.name, &d.summary.Mean, &d.summary.P50, &d.summary.P90, &d.summary.P95, &d.summary.P99, &d.summary.Max)
	}
	return r
}

// finite returns v, or 0 and false for NaN, infinities, and numbers so large that arithmetic with two of
// them overflows.
func finite(v float64) (float64, bool) {
	if math.IsNaN(v) || math.Abs(v) > math.MaxFloat32 {
		return 0, false
	}
	return v, true
}

func finiteOrNil(v *float64) *float64 {
	if v != nil {
		if _, ok := finite(*v); ok {
			return v
		}
	}
	return nil
}
