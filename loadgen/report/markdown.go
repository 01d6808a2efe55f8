package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// WriteMarkdown writes the report as report.md.
func WriteMarkdown(w io.Writer, r Report) error {
	d := &document{}
	d.title(r)
	d.overview(r)
	for _, phase := range r.phases() {
		d.phase(r, phase)
	}
	d.envExec(r)
	d.details(r)
	d.list("Conclusion", r.conclusion())
	d.list("Data notes", r.notes())
	d.list("Files", r.Files)
	_, err := io.WriteString(w, d.b.String())
	return err
}

type document struct{ b strings.Builder }

func (d *document) line(format string, args ...any) { fmt.Fprintf(&d.b, format+"\n", args...) }

func (d *document) table(head []string, rows [][]string) {
	d.line("| %s |", strings.Join(head, " | "))
	d.line("|%s", strings.Repeat("---|", len(head)))
	for _, row := range rows {
		d.line("| %s |", strings.Join(row, " | "))
	}
	d.line("")
}

func (d *document) list(title string, items []string) {
	d.line("## %s\n", title)
	for _, item := range items {
		d.line("- %s", item)
	}
	d.line("")
}

// Title is the report's title.
func (r Report) Title() string {
	title := "Prefill throughput by batch size"
	if r.Simulated {
		title += " (simulated)"
	}
	if r.Partial {
		title += " (partial)"
	}
	return title
}

func (d *document) title(r Report) {
	d.line("# %s\n", r.Title())
	if r.Simulated && r.Simulation != nil {
		d.line("**Simulated:** no model ran. Profile `%s`: %s. All seconds are simulated seconds; the clock ran at %s simulated seconds a real one.\n",
			r.Simulation.Profile, r.Simulation.Origin, short(r.Simulation.Speed))
	}
	if r.Partial {
		d.line("**Partial:** the sweep was cut short (%s). What follows is what was measured until then.\n", r.PartialReason)
	}
}

func (d *document) overview(r Report) {
	d.line("## Test overview\n")
	s, c := r.Server, r.Config
	load := "not told by the server"
	if s.LoadSeconds != nil {
		load = short(*s.LoadSeconds) + " s"
		if r.Simulated {
			load += " (the profile's)"
		}
	}
	rows := [][]string{
		{"Test time", r.CreatedAt.UTC().Format("2006-01-02 15:04:05 UTC")},
		{"Model", told(s.Model)},
		{"Device", told(s.Device)},
		{"Server", fmt.Sprintf("SGLang %s, %s tokens a forward, %s tokens of KV cache, longest prompt %s tokens, policy %s",
			told(s.Version), thousands(s.ChunkedPrefillTokens), thousands(s.KVCacheTokens), thousands(s.MaxPromptTokens), told(s.SchedulePolicy))},
		{"Model load time", load},
		{"Trajectories", fmt.Sprintf("%d, the first turn of each", r.Source.Count)},
		{"Source", r.sourceText()},
		{"Prompts", fmt.Sprintf("%s bytes in all, %s on average; %s", thousands(r.Source.PromptBytesTotal), thousands(r.meanBytes()), r.Source.Template)},
		{"Load", fmt.Sprintf("closed loop, %d callers, %d new tokens, %d repeat(s) in random order (seed %d)", c.Concurrency, c.MaxNewTokens, c.Repeats, c.Seed)},
		{"Batching", fmt.Sprintf("at most %d batches in flight and %s s of waiting, at every batch size; `unbatched` has neither", c.MaxInFlight, short(c.MaxWaitSeconds))},
		{"Configuration", r.configuration()},
		{"Load generator", fmt.Sprintf("%s, %s, %s/%s, %d CPUs", r.Version, r.Environment.GoVersion, r.Environment.OS, r.Environment.Arch, r.Environment.CPUs)},
	}
	d.table([]string{"", ""}, rows)
}

func told(s string) string {
	if s == "" {
		return "not told"
	}
	return s
}

func (r Report) sourceText() string {
	switch r.Source.Kind {
	case "generated":
		return fmt.Sprintf("generated, seed %d", r.Source.Seed)
	case "problems":
		return "problem statements of " + r.Source.File
	}
	return "R2E-Gym trajectories of " + r.Source.File
}

func (r Report) configuration() string {
	if len(r.Environment.Args) == 0 {
		return "no file; all flags at their defaults"
	}
	return "no file; flags `" + strings.Join(r.Environment.Args, " ") + "`"
}

func (r Report) meanBytes() int64 {
	if r.Source.Count == 0 {
		return 0
	}
	return r.Source.PromptBytesTotal / int64(r.Source.Count)
}

func (d *document) phase(r Report, phase string) {
	what := map[string]string{"cold": "Cold: cache flushed before each run", "warm": "Warm: the same prompts again"}[phase]
	d.line("## %s\n", what)
	cells := r.cells(phase)
	var rows [][]string
	for _, c := range cells {
		if len(c.runs) == 0 {
			rows = append(rows, []string{c.setting, "–", "–", "–", "–", "–", "–", "–", "–", fmt.Sprintf("0/%d", c.total)})
			continue
		}
		name := c.setting
		if !c.complete {
			name += " (incomplete)"
		}
		rows = append(rows, []string{
			name, significant(c.wall, 4), rate(c.throughput), rate(c.low) + " – " + rate(c.high), significant(c.perItem, 3), fmt.Sprint(c.rank),
			effective(c), fmt.Sprintf("%.1f %%", 100*c.cachedShare), thousands(promptTokens(c)), fmt.Sprintf("%d/%d", c.completed, c.total),
		})
	}
	d.table([]string{"batch size", "time for all (s)", "throughput (requests/s)", "range over repeats", "seconds per item", "rank",
		"effective batch size", "cached tokens", "prompt tokens a run", "answered"}, rows)
	d.improvement(cells)
	if f := r.findings(phase); len(f) > 0 {
		d.line("Findings:\n")
		for _, one := range f {
			d.line("- %s", one)
		}
		d.line("")
	}
}

func effective(c cell) string {
	if c.effective == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", c.effective)
}

func promptTokens(c cell) int64 {
	var most int64
	for _, r := range c.runs {
		most = max(most, r.PromptTokens)
	}
	return most
}

func (d *document) improvement(cells []cell) {
	one, ok := find(cells, "1")
	if !ok {
		d.line("Batch size 1 has no figure, so there is no improvement against it to show.\n")
		return
	}
	d.line("Improvement against batch size 1:\n")
	var rows [][]string
	for _, c := range cells {
		if c.setting == "1" || len(c.runs) == 0 {
			continue
		}
		said := map[verdict]string{differ: "yes", alike: "no", tooFewRepeats: "too few repeats"}[compare(one, c)]
		rows = append(rows, []string{c.setting, percent(c.throughput/one.throughput - 1), fmt.Sprintf("%.2f×", c.throughput/one.throughput), said})
	}
	d.table([]string{"batch size", "throughput", "ratio", "told apart by the repeats"}, rows)
}

func (d *document) envExec(r Report) {
	d.line("## Environment execution time (env_exec_time)\n")
	e := r.EnvExec
	if e == nil {
		d.line("The source knows none.\n")
		return
	}
	d.line("Part of the trajectories, not of this load: how long their environments took for the agent's actions.\n")
	d.table([]string{"steps covered", "mean per trajectory (s)", "total (s)"}, [][]string{
		{fmt.Sprintf("all %s of %d trajectories", thousands(e.Steps), e.Trajectories), fmt.Sprintf("%.4f", e.MeanSeconds), fmt.Sprintf("%.2f", e.TotalSeconds)},
		{"the first 5 of each", fmt.Sprintf("%.4f", e.FirstFiveMean), fmt.Sprintf("%.2f", e.FirstFiveTotal)},
	})
	d.line("Mean of a step: %.4f s.\n", e.MeanSecondsAStep)
}

func (d *document) details(r Report) {
	d.line("## Detail by batch size\n")
	for _, setting := range r.settings() {
		d.line("### %s\n", settingTitle(setting))
		for _, phase := range r.phases() {
			c, ok := find(r.cells(phase), setting)
			if !ok {
				d.line("%s: no answers.\n", upperFirst(phase))
				continue
			}
			d.detail(c, r.Config.Repeats)
		}
	}
}

// settings lists the settings: sizes first, by size, then the others.
func (r Report) settings() []string {
	var names []string
	for _, phase := range r.phases() {
		cells := r.cells(phase)
		for _, c := range append(bySize(cells), cells...) {
			if !slices.Contains(names, c.setting) {
				names = append(names, c.setting)
			}
		}
	}
	return names
}

func settingTitle(setting string) string {
	switch setting {
	case "unbatched":
		return "Unbatched: single calls through the proxy, no waiting, no in-flight cap"
	case "direct":
		return "Direct: single calls straight to SGLang"
	}
	return "Batch size " + setting
}

func (d *document) detail(c cell, repeats int) {
	d.line("%s: success rate %.1f %% (%d/%d over %d of %d repeat(s)).\n", upperFirst(c.phase), 100*float64(c.completed)/float64(c.total), c.completed, c.total, len(c.runs), repeats)
	var rows [][]string
	for _, run := range c.runs {
		rows = append(rows, []string{
			fmt.Sprint(run.Repeat), fmt.Sprintf("%d/%d", run.Completed, run.Total), significant(run.WallSeconds, 4), rate(run.RequestThroughput),
			thousands(int64(run.InputTokenThroughput)), thousands(run.CachedTokens),
			short(run.Latency.Mean), short(run.Latency.P50), short(run.Latency.P90), short(run.Latency.P95), short(run.Latency.P99),
			short(run.QueueWait.P50), reasonsText(run.ReleaseReasons), serverText(run),
		})
	}
	d.table([]string{"repeat", "answered", "time (s)", "requests/s", "input tokens/s", "cached tokens",
		"latency mean (s)", "P50", "P90", "P95", "P99", "queue wait P50 (s)", "batches by release reason", "server's own account"}, rows)
}

func reasonsText(m map[string]int) string {
	var parts []string
	for _, reason := range slices.Sorted(keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %d", reason, m[reason]))
	}
	if len(parts) == 0 {
		return "–"
	}
	return strings.Join(parts, ", ")
}

func serverText(r Run) string {
	if r.ServerUncachedTokens == nil || r.ServerBusySeconds == nil {
		return "–"
	}
	return fmt.Sprintf("%s tokens in %s s", thousands(*r.ServerUncachedTokens), short(*r.ServerBusySeconds))
}
