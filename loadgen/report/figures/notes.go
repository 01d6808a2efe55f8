package figures

import (
	"maps"
	"slices"
	"strings"

	"paceline/loadgen/report"
	"paceline/loadgen/stats"
)

// Notes are what a reader of the figures must know about the data. Notes that always hold, or follow
// from one field of the report, are only in the templates.
type Notes struct {
	Direct     bool    // direct sends texts where the proxy sends token ids
	Sequences  bool    // SGLang's #new-seq is known
	WarmOnly   bool    // only warm runs were asked for
	FewRepeats bool    // too few repeats to compare
	Retried    int     // requests that the proxy sent more than once
	KeptRuns   int     // measured before the sweep was last resumed
	Early      []Early // settings whose repeats stopped early

	Failures     []Failure
	Unsent       int    // prompts not sent, because the sweep was cut short
	Incomparable []Cell // cells with runs that are left out

	ColdTold bool         // the cached share of some cold run can be checked
	Shared   float64      // share of the prompts' bytes that repeat the start of another prompt
	NotCold  []report.Run // cold runs with a higher cached share than prompts have in common
	Busy     []report.Run // loadgen used nearly all CPUs
	Slowed   []report.Run // the cards were throttled
	Strange  []report.Run // the server's token count differs from that of the answers

	WarmUp, Late, LateByItself, Due, Dropped int          // requests of all runs of an open loop
	Slow                                     []report.Run // loadgen itself was slow
}

// Early is a setting whose repeats stopped early.
type Early struct {
	Setting string
	Repeats int
}

// Failure counts the requests that failed for one cause.
type Failure struct {
	Cause string
	Count int
}

const (
	// cacheMargin is how far the cached share of tokens may exceed the shared share of bytes: the
	// start of a prompt has other bytes per token than the rest.
	cacheMargin = 0.05
	// Saturated is the share of all CPUs, used by loadgen's own process, above which loadgen may be
	// the limit and not the server.
	Saturated = 0.9
	// accountMargin is how far the server's count of computed tokens may be from that of the
	// answers, as a share of the prompt tokens.
	accountMargin = 0.02
)

func (f Figures) notes() Notes {
	some := func(of func(report.Run) bool) bool { return slices.ContainsFunc(f.Runs, of) }
	n := Notes{
		Direct:    strings.HasPrefix(f.Server.TextsSent, "as token ids") && some(func(r report.Run) bool { return r.Setting == "direct" }),
		Sequences: some(func(r report.Run) bool { return r.ServerSequences != nil }),
		WarmOnly:  slices.Equal(f.Config.Phases, []string{"warm"}),
		Shared:    report.Share(f.Source.SharedBytes, f.Source.PromptBytesTotal),
	}
	failures, last := map[string]int{}, map[string]int{} // by cause; the last repeat by setting
	for _, run := range f.Runs {
		n.Retried += run.Retried
		last[run.Setting] = max(last[run.Setting], run.Repeat)
		for cause, k := range run.Errors {
			failures[cause] += k
		}
		n.Unsent += max(0, run.Total-run.Completed-run.Failed-run.Dropped())
		if possible(run) {
			n.check(run, f.Report)
		}
	}
	if k := len(f.Resumed); k > 0 {
		n.KeptRuns = len(only(f.Runs, func(run report.Run) bool { return run.StartedAt.Before(f.Resumed[k-1]) }))
	}
	for _, setting := range f.Config.Settings {
		if k := last[setting]; k > 0 && k < f.Config.Repeats && !f.Partial {
			n.Early = append(n.Early, Early{setting, k})
		}
	}
	for _, cause := range slices.Sorted(maps.Keys(failures)) {
		n.Failures = append(n.Failures, Failure{cause, failures[cause]})
	}
	for _, p := range f.Phases {
		few := only(p.Cells, func(c Cell) bool { return c.Ranked && len(c.Runs) < stats.MinToCompare })
		n.FewRepeats = n.FewRepeats || len(few) > 0
		n.Incomparable = append(n.Incomparable, only(p.Cells, func(c Cell) bool { return !c.Ranked || len(c.Runs) < len(c.All) })...)
	}
	return n
}

// check adds the notes of one run.
func (n *Notes) check(run report.Run, r report.Report) {
	if r.Source.SharedBytes > 0 && r.Source.PromptBytesTotal > 0 && run.Phase == "cold" && run.PromptTokens != 0 {
		n.ColdTold = true
		if run.CachedShare() > n.Shared+cacheMargin {
			n.NotCold = append(n.NotCold, run)
		}
	}
	cpus := float64(r.Environment.CPUs)
	if cpu := run.ProcessCPUSeconds; cpu != nil && cpus > 0 && *cpu > Saturated*run.WallClockSeconds*cpus {
		n.Busy = append(n.Busy, run)
	}
	if run.Cards != nil && throttled(*run.Cards) > minThrottled {
		n.Slowed = append(n.Slowed, run)
	}
	if run.ServerUncachedTokens != nil && run.PromptTokens != 0 {
		off := *run.ServerUncachedTokens - (run.PromptTokens - run.CachedTokens)
		if float64(max(off, -off)) > accountMargin*float64(run.PromptTokens) {
			n.Strange = append(n.Strange, run)
		}
	}
	if a := run.Arrivals; a != nil {
		n.WarmUp, n.Dropped, n.Due = n.WarmUp+a.WarmUp, n.Dropped+a.Dropped, n.Due+a.SendDelay.Count
		n.Late, n.LateByItself = n.Late+a.Late, n.LateByItself+a.LateByItself
		if run.Disturbed() {
			n.Slow = append(n.Slow, run)
		}
	}
}
