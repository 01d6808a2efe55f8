package render

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"paceline/loadgen/report"
	"paceline/loadgen/report/figures"
	"paceline/loadgen/stats"
)

// WriteComparison writes how the settings of one report stand beside the same of
// another, in English. The error is of w, or says that no setting is in both.
func WriteComparison(w io.Writer, c figures.Comparison) error {
	if len(c.Pairs) == 0 {
		return errors.New("no setting was measured in both reports")
	}
	var b strings.Builder
	for _, d := range differences(c.Before, c.After) {
		fmt.Fprintf(&b, "not the same: %s\n", d)
	}
	p99 := func(c figures.Cell) string {
		return sig3(c.Median(func(r report.Run) float64 { return r.Latency.P99 }))
	}
	rows := [][]string{{"cache", "batch size", "requests/s before", "of repeats", "after", "of repeats", "change", "told apart", "p99 before (s)", "after", "cached before", "after"}}
	for _, p := range c.Pairs {
		rows = append(rows, []string{
			p.Phase, p.Before.Setting, sig4(p.Before.Throughput), spread(p.Before), sig4(p.After.Throughput), spread(p.After),
			English.change(p.After.Throughput, p.Before.Throughput), English.line("told", p.Told),
			p99(p.Before), p99(p.After), share(p.Before.CachedShare), share(p.After.CachedShare),
		})
	}
	columns(&b, rows)
	if len(c.OnlyBefore) > 0 {
		fmt.Fprintf(&b, "only before: %s\n", strings.Join(c.OnlyBefore, ", "))
	}
	if len(c.OnlyAfter) > 0 {
		fmt.Fprintf(&b, "only after: %s\n", strings.Join(c.OnlyAfter, ", "))
	}
	fmt.Fprintf(&b, "Figures are medians of the repeats, beside them the repeats' range, or from %d on their [%.0f %% bootstrap interval].\n"+
		"Told apart: chance alone sets such repeats so far apart in at most %.0f of 100 cases; it takes %d repeats on each side.\n",
		stats.FewestForInterval, 100*figures.Confidence, 100*figures.ByChance, stats.FewestToCompare)
	_, err := io.WriteString(w, b.String())
	return err
}

// differences lists what makes two reports hard to compare.
func differences(a, b report.Report) (out []string) {
	for _, d := range []struct {
		what string
		a, b any
	}{
		{"simulated", a.Simulated, b.Simulated}, {"prompts", a.Source.Count, b.Source.Count}, {"bytes of all prompts", a.Source.PromptBytesTotal, b.Source.PromptBytesTotal},
		{"callers", a.Config.Concurrency, b.Config.Concurrency}, {"batches in flight", a.Config.MaxInFlight, b.Config.MaxInFlight},
		{"max_wait in seconds", a.Config.MaxWaitSeconds, b.Config.MaxWaitSeconds}, {"new tokens", a.Config.MaxNewTokens, b.Config.MaxNewTokens},
		{"SGLang's version", a.Server.Version, b.Server.Version}, {"model", a.Server.Model, b.Server.Model}, {"device", a.Server.Device, b.Server.Device},
		{"load", Load(a.Config, English), Load(b.Config, English)},
		{"texts sent", a.Server.TextsSent, b.Server.TextsSent}, {"cut short", a.Partial, b.Partial},
	} {
		if d.a != d.b {
			out = append(out, fmt.Sprintf("%s: %v before, %v after", d.what, d.a, d.b))
		}
	}
	return out
}
