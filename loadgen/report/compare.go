package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// comparison is one setting with the cache in one state, in two reports.
type comparison struct {
	phase         string
	before, after cell
}

// comparisons are the settings that both reports measured, in the order of before.
func comparisons(before, after Report) (both []comparison) {
	of := after.phases()
	for _, p := range before.phases() {
		i := slices.IndexFunc(of, func(q phase) bool { return q.name == p.name })
		if i < 0 {
			continue
		}
		for _, setting := range settingsOf(before.Runs) {
			same := func(c cell) bool { return c.setting == setting && len(c.runs) > 0 }
			a, b := slices.IndexFunc(p.cells, same), slices.IndexFunc(of[i].cells, same)
			if a >= 0 && b >= 0 {
				both = append(both, comparison{p.name, p.cells[a], of[i].cells[b]})
			}
		}
	}
	return both
}

// differences are what makes two reports hard to compare, in a sentence each.
func differences(a, b Report) (out []string) {
	for _, d := range []struct {
		what string
		a, b any
	}{
		{"simulated", a.Simulated, b.Simulated}, {"prompts", a.Source.Count, b.Source.Count}, {"bytes of all prompts", a.Source.PromptBytesTotal, b.Source.PromptBytesTotal},
		{"callers", a.Config.Concurrency, b.Config.Concurrency}, {"batches in flight", a.Config.MaxInFlight, b.Config.MaxInFlight},
		{"max_wait in seconds", a.Config.MaxWaitSeconds, b.Config.MaxWaitSeconds}, {"new tokens", a.Config.MaxNewTokens, b.Config.MaxNewTokens},
		{"SGLang's version", a.Server.Version, b.Server.Version}, {"model", a.Server.Model, b.Server.Model}, {"device", a.Server.Device, b.Server.Device},
		{"load", a.Config.LoadText(), b.Config.LoadText()},
		{"texts sent", a.Server.TextsSent, b.Server.TextsSent}, {"cut short", a.Partial, b.Partial},
	} {
		if d.a != d.b {
			out = append(out, fmt.Sprintf("%s: %v before, %v after", d.what, d.a, d.b))
		}
	}
	return out
}

// WriteComparison writes how the settings of one report stand beside the same of
// another. The error is of w, or says that no setting is in both.
func WriteComparison(w io.Writer, before, after Report) error {
	before, after = before.settled(), after.settled()
	both := comparisons(before, after)
	if len(both) == 0 {
		return fmt.Errorf("no setting was measured in both reports")
	}
	var b strings.Builder
	for _, d := range differences(before, after) {
		fmt.Fprintf(&b, "not the same: %s\n", d)
	}
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "cache\tbatch size\trequests/s before\tafter\tchange\ttold apart\tp99 before (s)\tafter\tcached before\tafter") //nolint:errcheck // a string
	for _, c := range both {
		p99 := func(r Run) float64 { return r.Latency.P99 }
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.phase, c.before.setting, rate(c.before.throughput), rate(c.after.throughput), //nolint:errcheck // a string
			percent(c.after.throughput, c.before.throughput), compare(c.before, c.after).String(), short(c.before.median(p99)), short(c.after.median(p99)),
			shareText(c.before.cachedShare), shareText(c.after.cachedShare))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, b.String())
	return err
}
