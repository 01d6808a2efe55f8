package report

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"paceline/loadgen/phrase"
)

// A sweep may vary more than the batch size: batches in flight, waiting, order. A
// setting's name then says so after its size ("16, 4 in flight, 0s"), and what its sizes
// are compared with must have the rest of the name in common.

// beside is what a fixed setting's name says beside its size; "" where nothing else
// varies.
func beside(setting string) string {
	_, rest, _ := strings.Cut(setting, ", ")
	return rest
}

// side is the part of a phase whose sizes compare: the fixed settings that have all but
// the size in common. The side of the fastest one also holds the settings without a
// size.
type side struct {
	name string // what they have in common: 4 in flight, 0s
	phase
}

// sides are those of a phase, the fastest first; one where only the size varies.
func (p phase) sides() (all []side) {
	for _, c := range p.cells { // by rank
		if !c.fixed() {
			continue
		}
		name := beside(c.setting)
		i := slices.IndexFunc(all, func(s side) bool { return s.name == name })
		if i < 0 {
			i = len(all)
			all = append(all, side{name, phase{name: p.name}})
		}
		all[i].cells = append(all[i].cells, c)
	}
	if len(all) > 0 {
		all[0].cells = slices.DeleteFunc(slices.Clone(p.cells), func(c cell) bool { return c.fixed() && beside(c.setting) != all[0].name })
	}
	return all
}

// config is the configuration as it was for a side.
func (s side) config(cfg Config) Config {
	for _, c := range s.cells {
		if run := c.all[0]; c.fixed() && run.MaxInFlight > 0 && run.MaxWaitSeconds != nil {
			cfg.MaxInFlight, cfg.MaxWaitSeconds = run.MaxInFlight, *run.MaxWaitSeconds
			break
		}
	}
	return cfg
}

// findingsOf are each side's, said to be of it.
func findingsOf(sides []side, cfg Config) (out []phrase.Phrase) {
	for _, s := range sides {
		for _, sentence := range s.findings(s.config(cfg)) {
			out = append(out, phrase.Say("%s: %s", combination(s.name), sentence))
		}
	}
	return out
}

// recommend says which combination is the fastest and how sure that is, and then which
// size to take beside what it has in common with others.
func recommend(p phase, sides []side) phrase.Phrase {
	sized := p.sized()
	if len(sized) == 0 {
		return phrase.Say("no batch size has a figure over all prompts, so there is nothing to recommend.")
	}
	top := fastest(sized)
	text := phrase.Say("of %s of batch size and other settings, “%s” has the highest figure, %s requests/s", phrase.Count(len(sized), "%s combination", "%s combinations"), combination(top.setting), rate(top.throughput))
	like := slices.DeleteFunc(slices.Clone(sized), func(c cell) bool { return c.setting == top.setting || compare(top, c) != alike })
	switch {
	case slices.ContainsFunc(sized, tooFew):
		text = phrase.Say("%s; there are not enough repeats to tell whether it is really the fastest.", text)
	case len(like) == 0:
		text = phrase.Say("%s, and the repeats tell it apart from all others.", text)
	default:
		text = phrase.Say("%s; the repeats do not tell it apart from %s, of which “%s” needs the fewest callers.", text, phrase.Count(len(like), "%s other", "%s others"), combination(like[0].setting))
	}
	return phrase.Sentences(text, phrase.Say("Beside “%s”: %s", combination(sides[0].name), sides[0].recommendation()))
}

// combination names a setting of several dimensions, or what its name says beside the
// size: 16, 4 in flight, 0s.
func combination(name string) phrase.Phrase {
	parts := strings.Split(name, ", ")
	said := make([]phrase.Phrase, len(parts))
	for i, part := range parts {
		said[i] = phrase.Name(part)
		if n, ok := strings.CutSuffix(part, " in flight"); ok {
			said[i] = phrase.Say("%s in flight", n)
		}
	}
	return phrase.Parts(said)
}

func combinations(settings []string) []phrase.Phrase {
	names := make([]phrase.Phrase, len(settings))
	for i, s := range settings {
		names[i] = combination(s)
	}
	return names
}

// improvementOf sets each size against size 1 with the rest the same, and what has no
// size against the fastest size 1.
func (d *document) improvementOf(p phase, sides []side) {
	ones := slices.DeleteFunc(p.sized(), func(c cell) bool { return c.batchSize != 1 })
	if len(ones) == 0 {
		d.line("Improvement against batch size 1: not shown, because batch size 1 has no figure over all prompts here.")
		return
	}
	var rows [][]any
	row := func(one, c cell) {
		rows = append(rows, []any{c.label(), combination(one.setting), change(one, c), ratio(c.throughput, one.throughput), compare(one, c).answer()})
	}
	for _, s := range sides {
		one, ok := s.find(withBeside("1", s.name))
		for _, c := range s.sized() {
			if ok && c.batchSize != 1 {
				row(one, c)
			}
		}
	}
	for _, c := range p.cells {
		if !c.fixed() && c.ranked {
			row(fastest(ones), c)
		}
	}
	d.line("Improvement against batch size 1 with the rest the same; settings without a batch size against the fastest of size 1:")
	d.table([]string{"batch size", "against", "throughput (change)", "throughput (ratio)", "told apart by the repeats"}, rows)
}

func withBeside(size, rest string) string {
	if rest == "" {
		return size
	}
	return size + ", " + rest
}

// byDimensions orders runs of one size.
func byDimensions(a, b Run) int {
	wait := func(r Run) float64 {
		if r.MaxWaitSeconds == nil {
			return 0
		}
		return *r.MaxWaitSeconds
	}
	return cmp.Or(cmp.Compare(a.MaxInFlight, b.MaxInFlight), cmp.Compare(wait(a), wait(b)), cmp.Compare(a.Order, b.Order))
}

// settingsText lists the planned settings. Their names hold commas where more than the
// size varies.
func (c Config) settingsText() phrase.Phrase {
	names := combinations(c.Settings)
	if slices.ContainsFunc(c.Settings, func(s string) bool { return beside(s) != "" }) {
		return phrase.Clauses(names)
	}
	return phrase.Series(names)
}

// batchingText is what held beside the size.
func (c Config) batchingText() phrase.Phrase {
	if len(c.MaxInFlights) < 2 && len(c.MaxWaitsSeconds) < 2 && len(c.Orders) < 2 {
		if slices.Equal(c.Orders, []string{"prefix"}) {
			return phrase.Say("at every batch size at most %d in flight and %s s of waiting, in the order of shared prefixes; auto chooses both, unbatched has neither", c.MaxInFlight, given(c.MaxWaitSeconds))
		}
		return phrase.Say("at every batch size at most %d in flight and %s s of waiting; auto chooses both, unbatched has neither", c.MaxInFlight, given(c.MaxWaitSeconds))
	}
	inFlight, waits := make([]string, len(c.MaxInFlights)), make([]string, len(c.MaxWaitsSeconds))
	for i, n := range c.MaxInFlights {
		inFlight[i] = strconv.Itoa(n)
	}
	for i, s := range c.MaxWaitsSeconds {
		waits[i] = given(s)
	}
	return phrase.Say("every batch size with at most %s in flight, %s s of waiting, in order %s: all combinations; auto chooses for itself, unbatched has none of them",
		phrase.Either(phrase.Names(inFlight)), phrase.Either(phrase.Names(waits)), phrase.Either(phrase.Names(c.Orders)))
}
