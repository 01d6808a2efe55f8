package report

import (
	"fmt"
	"io"

	"paceline/loadgen/number"
	"paceline/loadgen/phrase"
)

// WriteMarkdown writes the report as report.md.
func WriteMarkdown(w io.Writer, r Report, l phrase.Language) error {
	r = r.settled()
	phases := r.phases()
	d := &document{}
	d.title(r)
	d.body(r, phases)
	d.section(phrase.Say("Conclusion"), r.conclusion(phases))
	d.end(r, phases)
	if _, err := io.WriteString(w, d.markdown(l)); err != nil {
		return fmt.Errorf("report.md: %w", err)
	}
	return nil
}

// body is what was measured, and what follows from it.
func (d *document) body(r Report, phases []phase) {
	d.overview(r)
	for _, p := range phases {
		d.phase(p, r.Config)
	}
	d.coldAndWarm(r, phases)
	d.arrivals(r, phases)
	d.envExec(r)
	d.details(r, phases)
	d.generator(r)
	d.traces(r)
	d.plausibility(r, phases)
}

// end is what a reader must know besides.
func (d *document) end(r Report, phases []phase) {
	d.section(phrase.Say("Data notes"), r.notes(phases))
	d.section(phrase.Say("Files"), phrase.Names(r.Files))
}

func (d *document) title(r Report) {
	d.heading(1, r.Title())
	if r.Simulated {
		text := phrase.Say("**Simulated:** no model ran. All seconds are simulated seconds unless they say that they are real.")
		if sim := r.Simulation; sim != nil {
			text = phrase.Sentences(text,
				phrase.Say("Profile `%s`: %s.", oneLine(sim.Profile), phrase.Stored(oneLine(sim.Origin))),
				phrase.Say("The clock ran at %s simulated seconds per real second.", given(sim.Speed)))
		}
		d.say(text)
	}
	if r.Partial {
		d.line("**Partial:** the sweep was cut short (%s). What follows is what was measured until then.", phrase.Stored(oneLine(r.PartialReason)))
	}
}

// rankingHead begins with the user's columns; what makes them true follows.
var rankingHead = []string{
	"batch size", "time for all (s)", "throughput (requests/s)", "seconds per item", "rank",
	"told apart from the row above", "range of throughput (requests/s)", "runs", "effective batch size", "cached share of prompt tokens", "prompt tokens per run", "answered",
}

func (d *document) phase(p phase, cfg Config) {
	what := phrase.Say("Cold: cache flushed before each run")
	if p.name == "warm" {
		what = phrase.Say("Warm: the same prompts again")
	}
	d.heading(2, what)
	var rows [][]any
	marked := false
	for i, c := range p.cells {
		rows = append(rows, rankingRow(c, p.toldFromAbove(i)))
		marked = marked || c.marked()
	}
	d.table(rankingHead, rows)
	if marked {
		d.line("\\* Not all prompts were answered: the figures are of fewer, or some runs are left out. See the data notes.")
	}
	if cfg.Arrival == nil {
		d.improvement(p)
	}
	if found := p.findings(cfg); len(found) > 0 {
		d.line("Findings:")
		d.bullets(found)
	}
}

// marked says whether the row stands for fewer than all prompts of all runs.
func (c cell) marked() bool { return c.partial || len(c.runs) < len(c.all) || c.completed < c.total }

func (c cell) label() phrase.Phrase {
	name := combination(c.setting)
	switch c.setting {
	case "auto":
		name = phrase.Say("auto (chosen by the proxy)")
	case "unbatched":
		name = phrase.Say("unbatched (single calls)")
	case "direct":
		name = phrase.Say("direct (single calls, no proxy)")
	}
	if c.marked() {
		return phrase.Say("%s *", name)
	}
	return name
}

func rankingRow(c cell, toldFromAbove phrase.Phrase) []any {
	answered := fmt.Sprintf("%d/%d", c.completed, c.total)
	if len(c.runs) == 0 {
		return []any{c.label(), "–", "–", "–", "–", "–", "–", "0", "–", "–", "–", answered}
	}
	return []any{
		c.label(), number.Significant(c.wall, 4), rate(c.throughput), short(c.perItem), c.rankText(),
		toldFromAbove, c.rangeText(), fmt.Sprint(len(c.runs)), c.effectiveText(), shareText(c.cachedShare), c.tokensText(), answered,
	}
}

// toldFromAbove says whether a row of the ranking really differs from the one
// above it.
func (p phase) toldFromAbove(i int) phrase.Phrase {
	if i == 0 || p.cells[i].rank == 0 {
		return phrase.Name("–")
	}
	return compare(p.cells[i-1], p.cells[i]).answer()
}

func (c cell) rankText() string {
	if c.rank == 0 {
		return "–"
	}
	return fmt.Sprint(c.rank)
}

func (c cell) rangeText() string {
	if len(c.runs) < 2 {
		return "–"
	}
	return rate(c.low) + " – " + rate(c.high)
}

func (c cell) effectiveText() string {
	if c.effective == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", c.effective)
}

func (c cell) tokensText() string {
	return number.Thousands(int64(c.median(func(r Run) float64 { return float64(r.PromptTokens) })))
}

func (d *document) improvement(p phase) {
	if sides := p.sides(); len(sides) > 1 {
		d.improvementOf(p, sides)
		return
	}
	one, ok := p.find("1")
	if !ok {
		d.line("Improvement against batch size 1: not shown, because batch size 1 has no figure over all prompts here.")
		return
	}
	var rows [][]any
	for _, c := range p.cells {
		if c.setting != "1" && c.ranked {
			rows = append(rows, []any{c.label(), change(one, c), ratio(c.throughput, one.throughput), compare(one, c).answer()})
		}
	}
	if len(rows) == 0 {
		d.line("Improvement against batch size 1: no other setting has a figure over all prompts here.")
		return
	}
	d.line("Improvement against batch size 1:")
	d.table([]string{"batch size", "throughput (change)", "throughput (ratio)", "told apart by the repeats"}, rows)
}

// coldAndWarm sets the phases side by side; it needs both.
func (d *document) coldAndWarm(r Report, phases []phase) {
	if len(phases) < 2 {
		return
	}
	var rows [][]any
	for _, setting := range settingsOf(r.Runs) {
		c, cold := phases[0].find(setting)
		w, warm := phases[1].find(setting)
		if cold && warm {
			rows = append(rows, []any{c.label(), rate(c.throughput), rate(w.throughput), ratio(w.throughput, c.throughput), shareText(c.cachedShare), shareText(w.cachedShare)})
		}
	}
	if len(rows) == 0 {
		return
	}
	d.heading(2, phrase.Say("Warm against cold"))
	d.table([]string{"batch size", "cold (requests/s)", "warm (requests/s)", "ratio", "cached share, cold", "cached share, warm"}, rows)
	if found := r.warmth(phases); len(found) > 0 {
		d.bullets(found)
	}
}

func (d *document) envExec(r Report) {
	d.heading(2, phrase.Say("Environment execution time (env_exec_time)"))
	e := r.EnvExec
	if e == nil {
		d.line("The source knows none.")
		return
	}
	d.line("Part of the trajectories' data and not of this load: how long their environments took for the agent's actions.")
	d.table([]string{"steps covered", "mean per trajectory (s)", "total (s)"}, [][]any{
		{phrase.Say("all %s of %s", phrase.Count(e.Steps, "%s step", "%s steps"), phrase.Count(e.Trajectories, "%s trajectory", "%s trajectories")), fmt.Sprintf("%.4f", e.MeanSeconds), fmt.Sprintf("%.2f", e.TotalSeconds)},
		{phrase.Say("the first 5 of each"), fmt.Sprintf("%.4f", e.FirstFiveMean), fmt.Sprintf("%.2f", e.FirstFiveTotal)},
	})
	d.line("Mean of a step: %.4f s.", e.MeanSecondsAStep)
}
