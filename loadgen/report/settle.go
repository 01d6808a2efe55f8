package report

import "slices"

// Settled returns the report with derived fields filled in. Every format writes a settled report.
func (r Report) Settled() Report {
	r.FormatVersion = FormatVersion
	r.Environment.Args, r.Files = append([]string{}, r.Environment.Args...), append([]string{}, r.Files...) // never null in JSON
	if r.EnvExec != nil {
		e := *r.EnvExec
		e.StepsCovered = "all"
		r.EnvExec = &e
	}
	r.Runs = append([]Run{}, r.Runs...)
	for i := range r.Runs {
		run := &r.Runs[i]
		run.Notes = slices.Clone(run.Notes)
		if run.WallClockSeconds == 0 {
			run.WallClockSeconds = run.WallSeconds
		}
	}
	if len(r.Config.Settings) == 0 {
		r.Config.Settings = Settings(r.Runs)
	}
	return r
}
