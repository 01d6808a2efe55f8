package report

import (
	"cmp"
	"slices"

	"paceline/loadgen/phrase"
	"paceline/loadgen/plausibility"
)

// Limits is the device that a report is held against.
type Limits struct {
	Device plausibility.Device `json:"device"`
	Model  plausibility.Model  `json:"model"`
}

// Claim is what a run says, for a verdict; ok is false where nothing was answered.
func (r Run) Claim() (c plausibility.Claim, ok bool) {
	return plausibility.Claim{
		Prompts: r.Completed, Seconds: r.WallSeconds, PromptTokens: r.PromptTokens, CachedTokens: r.CachedTokens, Counted: r.PromptTokens > 0,
	}, r.Completed > 0 && r.WallSeconds > 0
}

// verdict is that on a cell's fastest run.
func (l Limits) verdict(c cell) (v plausibility.Verdict, ok bool) {
	var judged []plausibility.Verdict
	runs := slices.Clone(c.all)
	slices.SortStableFunc(runs, func(a, b Run) int { return cmp.Compare(b.RequestThroughput, a.RequestThroughput) })
	for _, run := range runs {
		if claim, ok := run.Claim(); ok {
			judged = append(judged, plausibility.Judge(l.Device, l.Model, claim))
		}
	}
	if len(judged) == 0 {
		return v, false
	}
	return judged[0], true
}

// plausibility writes a verdict for each cell; where no device was named it says so.
func (d *document) plausibility(r Report, phases []phase) {
	d.heading(2, phrase.Say("Plausibility"))
	if r.Limits == nil {
		d.line("Not judged: no `-device` was named. `loadgen check results.json -device …` does it afterwards.")
		return
	}
	if r.Simulated {
		d.line("The server was simulated: a verdict says whether the profile keeps within what `%s` can do.", oneLine(r.Limits.Device.Name))
	}
	var rows [][]any
	for _, p := range phases {
		for _, c := range p.cells {
			if v, ok := r.Limits.verdict(c); ok {
				rows = append(rows, []any{phaseName(p.name), combination(c.setting), kindText(v.Kind), short(v.FloorSeconds), short(v.AllSeconds), v.Sum})
			}
		}
	}
	d.table([]string{"phase", "batch size", "verdict", "least time without the cached tokens (s)", "least time for all (s)", "the sum, for the fastest run"}, rows)
}

// kindText is a verdict's kind in a cell.
func kindText(k plausibility.Kind) phrase.Phrase {
	switch k {
	case plausibility.Plausible:
		return phrase.Say("plausible")
	case plausibility.CacheAssisted:
		return phrase.Say("cache-assisted")
	}
	return phrase.Say("impossible")
}

// impossible are the settings whose fastest run can't be true.
func (r Report) impossible(phases []phase) (settings []phrase.Phrase) {
	if r.Limits == nil {
		return nil
	}
	for _, p := range phases {
		for _, c := range p.cells {
			if v, ok := r.Limits.verdict(c); ok && v.Kind == plausibility.Impossible {
				settings = append(settings, phrase.Say("%s %s", phaseName(p.name), combination(c.setting)))
			}
		}
	}
	return settings
}
