package report

import (
	"fmt"
	"strings"

	"paceline/loadgen/number"
	"paceline/loadgen/stats"
)

// details writes a block for each setting: sizes first, smallest first.
func (d *document) details(r Report, phases []phase) {
	d.heading(2, "Detail by batch size")
	d.line("Latency is from the send to the whole answer. With at most 1 new token, TTFT and E2E latency are one.\n")
	for _, setting := range settingsOf(r.Runs) {
		d.heading(3, detailTitle(setting))
		var success []string
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

func detailTitle(setting string) string {
	switch setting {
	case "auto":
		return "Auto: size, wait and batches in flight chosen by the proxy from what it learned"
	case "unbatched":
		return "Unbatched: single calls through the proxy, no waiting, no in-flight cap"
	case "direct":
		return "Direct: single calls straight to SGLang"
	}
	return "Batch size " + setting
}

// confidence of the interval around a median throughput.
const confidence = 0.95

func successText(phase string, c cell) string {
	each := make([]string, len(c.all))
	for i, r := range c.all {
		each[i] = fmt.Sprintf("%d/%d", r.Completed, r.Total)
	}
	text := fmt.Sprintf("%s: success rate %s (%s).", upperFirst(phase), successShare(c.completed, c.total), strings.Join(each, ", "))
	if len(c.runs) == 0 {
		return text
	}
	text += fmt.Sprintf(" Throughput %s requests/s", rate(c.throughput))
	if low, high, ok := stats.MedianInterval(c.throughputs(), confidence); ok {
		return text + fmt.Sprintf(", %.0f %% bootstrap interval %s – %s.", 100*confidence, rate(low), rate(high))
	}
	if len(c.runs) == 1 {
		return text + "."
	}
	return text + fmt.Sprintf(", range %s; an interval needs %d runs.", c.rangeText(), stats.FewestForInterval)
}

// successShare never rounds a failure away.
func successShare(completed, total int) string {
	if completed < total && total > 0 {
		return fmt.Sprintf("%.1f %%", min(99.9, 100*float64(completed)/float64(total)))
	}
	return shareText(share(int64(completed), int64(total)))
}

func (d *document) throughputs(runs []Run) {
	var rows [][]string
	for _, r := range runs {
		rows = append(rows, []string{
			r.Phase, runText(r), fmt.Sprintf("%d/%d", r.Completed, r.Total), number.Significant(r.WallSeconds, 4), rate(r.RequestThroughput),
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
	var rows [][]string
	for _, r := range runs {
		l, q := r.Latency, r.QueueWait
		rows = append(rows, []string{
			r.Phase, runText(r), timeText(l, l.Mean), timeText(l, l.P50), timeText(l, l.P90), timeText(l, l.P95), timeText(l, l.P99), timeText(l, l.Max),
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

func accountText(r Run) string {
	var parts []string
	if r.ServerUncachedTokens != nil && r.ServerBusySeconds != nil {
		parts = append(parts, fmt.Sprintf("%s tokens computed in %s s", number.Thousands(*r.ServerUncachedTokens), short(*r.ServerBusySeconds)))
	}
	if r.ServerForwards != nil {
		parts = append(parts, counted(int(*r.ServerForwards), "forward"))
	}
	if size, ok := r.serverBatchSize(); ok {
		parts = append(parts, fmt.Sprintf("%.2f new sequences each (#new-seq)", size))
	}
	if len(parts) == 0 {
		return "–"
	}
	return strings.Join(parts, ", ")
}
