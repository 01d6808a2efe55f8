package report

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"paceline/loadgen/phrase"
	"paceline/loadgen/stats"
)

// conclusion is the recommendation, as far as the figures carry one.
func (r Report) conclusion(phases []phase) []phrase.Phrase {
	var out []phrase.Phrase
	for _, p := range phases {
		out = append(out, phrase.Say("%s: %s", phrase.Capital(phaseName(p.name)), r.recommend(p)))
	}
	if len(phases) == 0 {
		out = append(out, phrase.Say("Nothing was measured, so there is nothing to recommend."))
	}
	if r.Partial {
		text := phrase.Say("The sweep was cut short; what it did not measure may be better.")
		if missing := r.missing(phases); len(missing) > 0 {
			text = phrase.Say("The sweep was cut short; what it did not measure may be better (%s).", phrase.Clauses(missing))
		}
		out = append(out, text)
	}
	if r.Simulated {
		out = append(out, phrase.Say("No model ran: these are figures of the simulated server named above. They show how batching meets such costs and are no measurement of that device."))
	}
	return out
}

// missing names the planned settings without a comparable figure, by phase.
func (r Report) missing(phases []phase) []phrase.Phrase {
	var out []phrase.Phrase
	for _, name := range []string{"cold", "warm"} {
		if len(r.Config.Phases) > 0 && !slices.Contains(r.Config.Phases, name) {
			continue
		}
		var without []string
		i := slices.IndexFunc(phases, func(p phase) bool { return p.name == name })
		for _, s := range r.Config.Settings {
			measured := false
			if i >= 0 {
				_, measured = phases[i].find(s)
			}
			if !measured {
				without = append(without, s)
			}
		}
		if len(without) > 0 {
			out = append(out, phrase.Say("%s: %s", phaseName(name), phrase.Series(combinations(without))))
		}
	}
	return out
}

func (p phase) recommendation() phrase.Phrase {
	if sides := p.sides(); len(sides) > 1 {
		return recommend(p, sides)
	}
	sized := p.sized()
	switch len(sized) {
	case 0:
		return phrase.Say("no batch size has a figure over all prompts, so there is nothing to recommend.")
	case 1:
		return phrase.Sentences(
			phrase.Say("only batch size %d has a figure, %s requests/s, so there is nothing to choose from.", sized[0].batchSize, rate(sized[0].throughput)),
			p.worthBatching(sized[0]))
	}
	text, take := choose(sized)
	return phrase.Sentences(text, p.worthBatching(take))
}

// choose recommends one of the sizes, and says which.
func choose(sized []cell) (phrase.Phrase, cell) {
	top := fastest(sized)
	if slices.ContainsFunc(sized, tooFew) {
		return phrase.Say("batch size %d has the highest figure, %s requests/s, but there are not enough repeats to tell whether it is really the fastest; %d of each are the least.",
			top.batchSize, rate(top.throughput), stats.FewestToCompare), top
	}
	equal := leaders(sized)
	if front := inFront(equal, sized); len(equal) > 1 && len(front) < len(equal) {
		return phrase.Say("batch sizes %s can't be told apart among themselves (%s requests/s); take %d, the smallest of rank %d in the table, where the others rank lower.",
			sizesText(equal), ratesText(equal), front[0].batchSize, front[0].rank), front[0]
	}
	if len(equal) > 1 {
		return phrase.Say("batch sizes %s can't be told apart (%s requests/s); take %d, the smallest: it needs the fewest callers to fill, so it waits less when there are fewer than here.",
			sizesText(equal), ratesText(equal), equal[0].batchSize), equal[0]
	}
	next := rankCells(slices.Clone(sized))[1]
	text := phrase.Say("take batch size %d: %s requests/s, and the repeats tell it apart from the next, %d (%s requests/s).",
		top.batchSize, rate(top.throughput), next.batchSize, rate(next.throughput))
	if small, ok := cheaper(sized, top); ok {
		text = phrase.Sentences(text, phrase.Say("Size %d gives up only %.1f %% and fills with fewer callers.", small.batchSize, 100*(1-small.throughput/top.throughput)))
	}
	return text, top
}

// inFront keeps those of equal sizes that rank highest among all settings, or
// give up little against them: a size that a faster mode leaves behind is no
// choice beside one that it doesn't.
func inFront(equal, sized []cell) []cell {
	rank := map[int]int{}
	for _, c := range sized {
		rank[c.batchSize] = c.rank
	}
	best := slices.MinFunc(equal, func(a, b cell) int { return cmp.Compare(rank[a.batchSize], rank[b.batchSize]) })
	var front []cell
	for _, c := range equal {
		c.rank = rank[c.batchSize]
		if c.rank == rank[best.batchSize] || c.throughput >= (1-cheap)*best.throughput {
			front = append(front, c)
		}
	}
	return front
}

// cheap is the loss of throughput that is worth naming beside a winner.
const cheap = 0.02

// cheaper is the smallest size that gives up little against the best.
func cheaper(sized []cell, top cell) (cell, bool) {
	for _, c := range sized {
		if c.batchSize < top.batchSize && c.throughput >= (1-cheap)*top.throughput {
			return c, true
		}
	}
	return cell{}, false
}

// nothing is a difference that nobody would act on, however surely it is there.
const nothing = 0.005

// worthBatching holds the recommended size against not batching at all.
func (p phase) worthBatching(take cell) phrase.Phrase {
	single, ok := p.find("unbatched")
	if !ok {
		return phrase.Phrase{}
	}
	verdict := compare(single, take)
	gain := change(single, take)
	switch {
	case verdict == tooFewRepeats:
		return phrase.Say("Against single calls (unbatched) it makes %s, without enough repeats to tell.", gain)
	case verdict == alike:
		return phrase.Say("It can't be told apart from single calls without batching (unbatched, %s requests/s): batching brings no measurable throughput here.", rate(single.throughput))
	case math.Abs(take.throughput/single.throughput-1) < nothing:
		return phrase.Say("Against single calls without batching (unbatched, %s requests/s) the difference is %s: too small to matter.", rate(single.throughput), gain)
	case single.throughput > take.throughput:
		return phrase.Say("Single calls without batching (unbatched) are faster still, %s requests/s: here batching costs throughput.", rate(single.throughput))
	}
	return phrase.Say("Against single calls (unbatched) it makes %s.", gain)
}

func sizesText(cells []cell) phrase.Phrase {
	names := make([]string, len(cells))
	for i, c := range cells {
		names[i] = strconv.Itoa(c.batchSize)
	}
	return phrase.List(phrase.Names(names))
}

func ratesText(cells []cell) phrase.Phrase {
	texts := make([]string, len(cells))
	for i, c := range cells {
		texts[i] = rate(c.throughput)
	}
	return phrase.List(phrase.Names(texts))
}
