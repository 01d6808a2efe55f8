// Package figures derives from a report what its readers see: tables, ranks, decisions and notes, as
// numbers and names. It knows no language and no layout.
//
// Of makes one Figures value, and every format reads it: package render writes it as text, Markdown
// and HTML. Read figures.go (the value) first, then cell.go (repeats to figures), rank.go (which
// settings differ and which lead), conclude.go and findings.go (what follows), search.go (what
// loadgen find found), notes.go (what limits the figures).
package figures

import (
	"cmp"
	"slices"

	"paceline/loadgen/plausibility"
	"paceline/loadgen/report"
)

// Figures is a settled report and everything derived from it.
type Figures struct {
	report.Report

	WallSeconds float64 // of all runs together
	MeanBytes   int64   // of a prompt

	Phases     []Phase    // of a sweep
	Searches   []Searched // of loadgen find, instead of Phases
	Failing    []Cell     // cells that are no candidates because too many prompts failed or were dropped
	Miscounted []Cell     // cells that are no candidates because a server's counts can't be true
	Missing    []Missing  // planned settings without a comparable figure
	NotWarm    *NotWarm   // warm runs had to compute much
	Details    []Detail
	Arrivals   []report.Run    // open loop only: the setting with the lowest latency first
	Generators []report.Run    // runs with known costs of loadgen's own process
	Slow       []TracedRequest // the slowest sampled requests
	Failed     []TracedRequest // the failed sampled requests
	Unseen     int             // requests that failed without a trace
	Judged     []Judged        // verdicts, if there is a device
	Impossible []Judged        // those verdicts that say impossible
	Unsteady   []Unsteady      // phases whose repeats drift or lie in two groups
	BusyShare  float64         // largest share of a run that SGLang's busy time fills, if it can't be true and is left out
	Notes      Notes
}

// TracedRequest is a sampled request and its run.
type TracedRequest struct {
	report.Trace
	Run report.Run
}

// Judged is the verdict on a setting's fastest run.
type Judged struct {
	Phase, Setting string
	plausibility.Verdict
}

// Missing names the planned settings without a comparable figure in a phase.
type Missing struct {
	Phase    string
	Settings []string
}

// Detail is the report's block of one setting.
type Detail struct {
	Setting string
	Cells   []Cell // one per phase
	Runs    []report.Run
}

// Of derives the figures.
func Of(r report.Report) Figures {
	f := Figures{Report: r.Settled()}
	if f.BusyShare = overlapping(f.Runs); f.BusyShare > 0 {
		for i := range f.Runs {
			f.Runs[i].ServerBusySeconds = nil
		}
	}
	f.Phases, f.Searches = phases(f.Report), searched(f.Report)
	for _, p := range f.Phases {
		if u := p.unsteady(); u != nil && f.Config.Arrival == nil {
			f.Unsteady = append(f.Unsteady, *u)
		}
		f.Failing = append(f.Failing, only(p.Cells, func(c Cell) bool { return c.Failing > 0 })...)
		f.Miscounted = append(f.Miscounted, only(p.Cells, func(c Cell) bool { return len(c.Impossible) > 0 })...)
	}
	for _, run := range f.Runs {
		f.WallSeconds += run.WallSeconds
		if run.ProcessCPUSeconds != nil || run.SchedulerWait != nil {
			f.Generators = append(f.Generators, run)
		}
	}
	if n := cmp.Or(f.Source.Requests, f.Source.Count); n > 0 {
		f.MeanBytes = f.Source.PromptBytesTotal / int64(n)
	}
	f.Missing = f.missing()
	f.NotWarm = f.notWarm()
	f.details()
	f.traces()
	f.judge()
	f.Notes = f.notes()
	return f
}

// missing names the planned settings without a comparable figure.
func (f Figures) missing() (all []Missing) {
	for _, name := range []string{"cold", "warm"} {
		if len(f.Config.Phases) > 0 && !slices.Contains(f.Config.Phases, name) {
			continue
		}
		i := slices.IndexFunc(f.Phases, func(p Phase) bool { return p.Name == name })
		m := Missing{name, only(f.Config.Settings, func(s string) bool {
			return i < 0 || !slices.ContainsFunc(f.Phases[i].Cells, func(c Cell) bool { return c.Ranked && c.Setting == s })
		})}
		if len(m.Settings) > 0 {
			all = append(all, m)
		}
	}
	return all
}

// NotWarm is the warm cell of the batch size that was fastest when cold, if it had to compute much.
type NotWarm struct {
	Cell
	Evicted  bool  // one cold run computes more tokens than the KV cache holds
	Distinct int64 // tokens that one cold run computes
}

// minWarm is the cached share above which a run is called fully warm. All but one token of each prompt
// can come from the cache.
const minWarm = 0.9

func (f Figures) notWarm() *NotWarm {
	if len(f.Phases) < 2 || len(f.Phases[0].sized()) == 0 {
		return nil
	}
	cold := fastest(f.Phases[0].sized())
	warm, ok := f.Phases[1].find(cold.Setting)
	if !ok || !(warm.CachedShare < minWarm) {
		return nil
	}
	distinct := cold.Median(func(run report.Run) float64 { return float64(run.PromptTokens - run.CachedTokens) })
	kv := float64(f.Server.KVCacheTokens)
	return &NotWarm{warm, kv > 0 && distinct > kv, int64(distinct)}
}

// details groups cells and runs by setting, and lists the runs of an open loop.
func (f *Figures) details() {
	for _, setting := range report.Settings(f.Runs) {
		d := Detail{Setting: setting}
		for _, p := range f.Phases {
			for _, c := range p.Cells {
				if c.Setting == setting {
					d.Cells, d.Runs = append(d.Cells, c), append(d.Runs, only(c.All, possible)...)
				}
			}
		}
		f.Details = append(f.Details, d)
	}
	if f.Config.Arrival == nil {
		return
	}
	for _, p := range f.Phases {
		others := only(p.Cells, func(c Cell) bool { return !c.Ranked || len(c.due()) == 0 })
		for _, c := range append(p.soonest(), others...) {
			f.Arrivals = append(f.Arrivals, only(c.All, func(run report.Run) bool { return run.Arrivals != nil && possible(run) })...)
		}
	}
}

// traces picks the slowest and the failed traces of all runs.
func (f *Figures) traces() {
	failed := func(t report.Trace) bool { return t.Cause != "" }
	var all []TracedRequest
	for _, run := range f.Runs {
		for _, t := range run.Traces {
			all = append(all, TracedRequest{t, run})
		}
		f.Unseen += max(0, run.Failed-len(only(run.Traces, failed)))
	}
	slices.SortStableFunc(all, func(a, b TracedRequest) int { return cmp.Compare(b.Seconds, a.Seconds) })
	f.Slow = only(all, func(t TracedRequest) bool { return !failed(t.Trace) })
	f.Failed = only(all, func(t TracedRequest) bool { return failed(t.Trace) })
	f.Slow, f.Failed = f.Slow[:min(len(f.Slow), report.MaxTraces)], f.Failed[:min(len(f.Failed), report.MaxTraces)]
}

// judge compares each cell's fastest run with the device.
func (f *Figures) judge() {
	if f.Limits == nil {
		return
	}
	for _, p := range f.Phases {
		for _, c := range p.Cells {
			runs := only(c.All, func(run report.Run) bool { _, ok := run.Claim(); return ok })
			if len(runs) == 0 {
				continue
			}
			claim, _ := slices.MaxFunc(runs, func(a, b report.Run) int { return cmp.Compare(a.RequestThroughput, b.RequestThroughput) }).Claim()
			j := Judged{p.Name, c.Setting, plausibility.Judge(f.Limits.Device, f.Limits.Model, claim)}
			f.Judged = append(f.Judged, j)
			if j.Kind == plausibility.Impossible {
				f.Impossible = append(f.Impossible, j)
			}
		}
	}
}
