package report

import (
	"fmt"
	"strings"

	"paceline/loadgen/number"
	"paceline/loadgen/phrase"
	"paceline/loadgen/stats"
)

// details writes a block for each setting: sizes first, smallest first.
func (d *document) details(r Report, phases []phase) {
	d.heading(2, phrase.Say("Detail by batch size"))
	d.line("Latency is from the send to the whole answer. With at most 1 new token, TTFT and E2E latency are one.")
	for _, setting := range settingsOf(r.Runs) {
		d.heading(3, detailTitle(setting))
		var success []phrase.Phrase
		var runs []Run
		for _, p := range phases {
			for _, c := range p.cells {
				if c.setting == setting {
					success = append(success, successText(p.name, c))
					runs = append(runs, c.all...)
				}
			}
		}
		d.bullets(success)
		d.throughputs(runs)
		d.latencies(runs)
	}
}

func detailTitle(setting string) phrase.Phrase {
	switch setting {
	case "auto":
		return phrase.Say("Auto: size, wait and batches in flight chosen by the proxy from what it learned")
	case "unbatched":
		return phrase.Say("Unbatched: single calls through the proxy, no waiting, no in-flight cap")
	case "direct":
		return phrase.Say("Direct: single calls straight to SGLang")
	}
	return phrase.Say("Batch size %s", combination(setting))
}

// confidence of the interval around a median throughput.
const confidence = 0.95

// medianInterval is that around a cell's throughput; ok is false where there are
// too few runs for one.
func medianInterval(c cell) (low, high float64, ok bool) {
	return stats.MedianInterval(c.throughputs(), confidence)
}

func successText(phase string, c cell) phrase.Phrase {
	each := make([]string, len(c.all))
	for i, r := range c.all {
		each[i] = fmt.Sprintf("%d/%d", r.Completed, r.Total)
	}
	text := phrase.Say("%s: success rate %s (%s).", phrase.Capital(phaseName(phase)), successShare(c.completed, c.total), phrase.Series(phrase.Names(each)))
	if len(c.runs) == 0 {
		return text
	}
	if low, high, ok := medianInterval(c); ok {
		return phrase.Sentences(text, phrase.Say("Throughput %s requests/s, %.0f %% bootstrap interval %s – %s.", rate(c.throughput), 100*confidence, rate(low), rate(high)))
	}
	if len(c.runs) == 1 {
		return phrase.Sentences(text, phrase.Say("Throughput %s requests/s.", rate(c.throughput)))
	}
	return phrase.Sentences(text, phrase.Say("Throughput %s requests/s, range %s; an interval needs %d runs.", rate(c.throughput), c.rangeText(), stats.FewestForInterval))
}

// successShare never rounds a failure away.
func successShare(completed, total int) string {
	if completed < total && total > 0 {
		return fmt.Sprintf("%.1f %%", min(99.9, 100*float64(completed)/float64(total)))
	}
	return shareText(share(int64(completed), int64(total)))
}

func (d *document) throughputs(runs []Run) {
	var rows [][]any
	for _, r := range runs {
		rows = append(rows, []any{
			phaseName(r.Phase), runText(r), fmt.Sprintf("%d/%d", r.Completed, r.Total), number.Significant(r.WallSeconds, 4), rate(r.RequestThroughput),
			number.Thousands(int64(r.InputTokenThroughput)), number.Thousands(r.CachedTokens), number.Thousands(r.PromptTokens),
			reasonsText(r.ReleaseReasons), accountText(r),
		})
	}
	d.table([]string{
		"phase", "repeat", "answered", "time (s)", "requests/s", "input tokens/s", "cached tokens", "prompt tokens",
		"batches by release reason", "SGLang's own account",
	}, rows)
}

func runText(r Run) string {
	if !r.Complete {
		return fmt.Sprintf("%d *", r.Repeat)
	}
	return fmt.Sprint(r.Repeat)
}

func (d *document) latencies(runs []Run) {
	var rows [][]any
	for _, r := range runs {
		l, q := r.Latency, r.QueueWait
		rows = append(rows, []any{
			phaseName(r.Phase), runText(r), timeText(l, l.Mean), timeText(l, l.P50), timeText(l, l.P90), timeText(l, l.P95), timeText(l, l.P99), timeText(l, l.Max),
			timeText(q, q.P50), timeText(q, q.P99),
		})
	}
	d.table([]string{
		"phase", "repeat", "latency mean (s)", "P50 (s)", "P90 (s)", "P95 (s)", "P99 (s)", "max (s)",
		"wait in the proxy P50 (s)", "P99 (s)",
	}, rows)
}

// timeText is a value of a summary, unless that is empty.
func timeText(of stats.Summary, v float64) string {
	if of.Count == 0 {
		return "–"
	}
	return short(v)
}

func reasonsText(reasons map[string]int) string {
	var parts []string
	for _, reason := range sortedKeys(reasons) {
		parts = append(parts, fmt.Sprintf("%s %s", reason, number.Thousands(reasons[reason])))
	}
	if len(parts) == 0 {
		return "–"
	}
	return strings.Join(parts, ", ")
}

func accountText(r Run) any {
	var parts []phrase.Phrase
	if r.ServerUncachedTokens != nil && r.ServerBusySeconds != nil {
		parts = append(parts, phrase.Say("%s tokens computed in %s s", number.Thousands(*r.ServerUncachedTokens), short(*r.ServerBusySeconds)))
	}
	if r.ServerForwards != nil {
		parts = append(parts, phrase.Count(*r.ServerForwards, "%s forward", "%s forwards"))
	}
	if size, ok := r.serverBatchSize(); ok {
		parts = append(parts, phrase.Say("%.2f new sequences each (#new-seq)", size))
	}
	if len(parts) == 0 {
		return "–"
	}
	return phrase.Series(parts)
}
