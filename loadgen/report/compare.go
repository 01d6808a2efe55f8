package report

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"paceline/loadgen/stats"
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
		{"load", a.Config.LoadText().String(), b.Config.LoadText().String()},
		{"texts sent", a.Server.TextsSent, b.Server.TextsSent}, {"cut short", a.Partial, b.Partial},
	} {
		if d.a != d.b {
			out = append(out, fmt.Sprintf("%s: %v before, %v after", d.what, d.a, d.b))
		}
	}
	return out
}

// onlyIn names the settings of one report that another lacks, with their phase.
func onlyIn(r, other Report) (names []string) {
	has := map[string]bool{}
	for _, run := range other.Runs {
		has[run.Phase+" "+run.Setting] = true
	}
	for _, p := range r.phases() {
		for _, setting := range settingsOf(r.Runs) {
			if i := slices.IndexFunc(p.cells, func(c cell) bool { return c.setting == setting }); i >= 0 && !has[p.name+" "+setting] {
				names = append(names, p.name+" "+setting)
			}
		}
	}
	return names
}

// spread is the interval of a cell's median throughput where there are repeats
// enough for one, else the range of the repeats, else nothing.
func (c cell) spread() string {
	if low, high, ok := medianInterval(c); ok {
		return fmt.Sprintf("[%s – %s]", rate(low), rate(high))
	}
	return c.rangeText()
}

// WriteComparison writes how the settings of one report stand beside the same of
// another. The error is of w, or says that no setting is in both.
func WriteComparison(w io.Writer, before, after Report) error {
	before, after = before.settled(), after.settled()
	both := comparisons(before, after)
	if len(both) == 0 {
		return fmt.Errorf("no setting was measured in both reports")
	}
	var b bytes.Buffer
	for _, d := range differences(before, after) {
		fmt.Fprintf(&b, "not the same: %s\n", d)
	}
	rows := [][]string{{"cache", "batch size", "requests/s before", "of repeats", "after", "of repeats", "change", "told apart", "p99 before (s)", "after", "cached before", "after"}}
	for _, c := range both {
		p99 := func(r Run) float64 { return r.Latency.P99 }
		rows = append(rows, []string{
			c.phase, c.before.setting, rate(c.before.throughput), c.before.spread(), rate(c.after.throughput), c.after.spread(),
			percent(c.after.throughput, c.before.throughput).String(), compareSweeps(c.before, c.after).answer().String(),
			short(c.before.median(p99)), short(c.after.median(p99)), shareText(c.before.cachedShare), shareText(c.after.cachedShare),
		})
	}
	writeColumns(&b, rows)
	for _, side := range []struct {
		name  string
		names []string
	}{{"before", onlyIn(before, after)}, {"after", onlyIn(after, before)}} {
		if len(side.names) > 0 {
			fmt.Fprintf(&b, "only %s: %s\n", side.name, strings.Join(side.names, ", "))
		}
	}
	fmt.Fprintf(&b, "Figures are medians of the repeats, beside them the repeats' range, or from %d on their [%.0f %% bootstrap interval].\n"+
		"Told apart: chance alone sets such repeats so far apart in at most %.0f of 100 cases; it takes %d repeats on each side.\n",
		stats.FewestForInterval, 100*confidence, 100*byChance, stats.FewestToCompare)
	_, err := w.Write(b.Bytes())
	return err
}
