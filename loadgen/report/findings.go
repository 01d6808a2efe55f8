package report

import (
	"cmp"
	"slices"

	"paceline/loadgen/phrase"
)

// findings are sentences that follow from the figures of one phase.
func (p phase) findings(cfg Config) []phrase.Phrase {
	if sides := p.sides(); len(sides) > 1 {
		return findingsOf(sides, cfg)
	}
	sized := p.sized()
	var out []phrase.Phrase
	if cfg.Arrival != nil { // its throughput is what was offered: see recommend
		for _, c := range sized {
			out = append(out, notFull(c, cfg)...)
		}
		return out
	}
	if len(sized) >= 2 {
		out = append(out, course(sized), saturation(sized))
		out = append(out, knee(sized)...)
	}
	if len(sized) > 0 {
		out = append(out, p.againstOthers(fastest(sized))...)
	}
	out = append(out, p.proxyCost()...)
	if len(sized) > 0 {
		out = append(out, serverLimit(fastest(sized))...)
	}
	for _, c := range sized {
		out = append(out, notFull(c, cfg)...)
	}
	return out
}

// course says how throughput follows the size, step by step.
func course(sized []cell) phrase.Phrase {
	first, last := sized[0], sized[len(sized)-1]
	text := phrase.Say("From batch size %d to %d, throughput goes from %s to %s requests/s (%s), %s.",
		first.batchSize, last.batchSize, rate(first.throughput), rate(last.throughput), change(first, last), monotony(sized))
	if len(sized) == 2 {
		return phrase.Sentences(text, certainty(first, last))
	}
	steps := make([]phrase.Phrase, len(sized)-1)
	unsure := phrase.Phrase{}
	for i := range steps {
		a, b := sized[i], sized[i+1]
		steps[i] = phrase.Say("%d→%d %s", a.batchSize, b.batchSize, change(a, b))
		switch compare(a, b) {
		case alike:
			steps[i] = phrase.Say("%d→%d %s (not told apart)", a.batchSize, b.batchSize, change(a, b))
		case tooFewRepeats:
			unsure = phrase.Say("There are not enough repeats to tell which steps are real.")
		}
	}
	return phrase.Sentences(text, phrase.Say("Steps: %s.", phrase.Series(steps)), unsure)
}

// monotony says whether the figures rise or fall throughout.
func monotony(sized []cell) phrase.Phrase {
	var ups, downs int
	for i := 1; i < len(sized); i++ {
		switch {
		case sized[i].throughput > sized[i-1].throughput:
			ups++
		case sized[i].throughput < sized[i-1].throughput:
			downs++
		}
	}
	switch {
	case ups == 0 && downs == 0:
		return phrase.Say("the same at every size")
	case downs == 0:
		return phrase.Say("never falling")
	case ups == 0:
		return phrase.Say("never rising")
	}
	return phrase.Say("not steadily: the highest figure is at %d, the lowest at %d", fastest(sized).batchSize, slowest(sized).batchSize)
}

func slowest(cells []cell) cell {
	return slices.MinFunc(cells, func(a, b cell) int { return cmp.Compare(a.throughput, b.throughput) })
}

// flat is the gain in throughput that counts as no more gain.
const flat = 0.05

// saturation says from which size on larger ones add little, or that the
// largest still does.
func saturation(sized []cell) phrase.Phrase {
	top := fastest(sized)
	for _, c := range sized[:len(sized)-1] {
		if c.throughput*(1+flat) < top.throughput {
			continue
		}
		if slices.ContainsFunc(sized, tooFew) {
			return phrase.Say("Throughput saturates at batch size %d: no larger one is more than %.0f %% faster, as far as figures of so few repeats can say.", c.batchSize, 100*flat)
		}
		return phrase.Say("Throughput saturates at batch size %d: no larger one is more than %.0f %% faster.", c.batchSize, 100*flat)
	}
	last, before := sized[len(sized)-1], sized[len(sized)-2]
	return phrase.Say("No saturation in sight: %d, the largest size measured, is still %s against %d %s. Larger sizes may be faster.",
		last.batchSize, change(before, last), before.batchSize, certaintyClause(before, last))
}

// againstOthers sets the other ways of sending beside the best size.
func (p phase) againstOthers(best cell) []phrase.Phrase {
	var out []phrase.Phrase
	for _, setting := range []string{"auto", "unbatched", "direct"} {
		single, ok := p.find(setting)
		if !ok {
			continue
		}
		reached, size, top, gain := rate(single.throughput), best.batchSize, rate(best.throughput), change(single, best)
		text := phrase.Say("Auto, which chooses size and batches in flight by itself, reaches %s requests/s; batch size %d, the best, reaches %s (%s).", reached, size, top, gain)
		switch setting {
		case "unbatched":
			text = phrase.Say("Single calls through the proxy, without waiting or in-flight cap (unbatched), reach %s requests/s; batch size %d, the best, reaches %s (%s).", reached, size, top, gain)
		case "direct":
			text = phrase.Say("Single calls straight to SGLang (direct) reach %s requests/s; batch size %d, the best, reaches %s (%s).", reached, size, top, gain)
		}
		out = append(out, phrase.Sentences(text, certainty(single, best)))
	}
	return out
}

// proxyCost is what the way through the proxy costs single calls.
func (p phase) proxyCost() []phrase.Phrase {
	direct, ok := p.find("direct")
	unbatched, both := p.find("unbatched")
	if !ok || !both {
		return nil
	}
	return []phrase.Phrase{phrase.Sentences(
		phrase.Say("The proxy itself: single calls through it make %s against those straight to SGLang.", change(direct, unbatched)),
		certainty(direct, unbatched))}
}

// serverLimit says whether the server computed all the time. Then no way of
// sending can be much faster.
func serverLimit(best cell) []phrase.Phrase {
	busy, ok := best.busyShare()
	if !ok {
		return nil
	}
	text := phrase.Say("At batch size %d SGLang computed for %.0f %% of the time, by its own clock", best.batchSize, 100*busy)
	switch {
	case busy >= 0.9:
		text = phrase.Say("%s: its computing is the limit, and batching can only save what is done beside it.", text)
	case busy < 0.5:
		text = phrase.Say("%s: most of the time went elsewhere (tokenizing and scheduling, the proxy, the network or the load generator).", text)
	default:
		text = phrase.Say("%s.", text)
	}
	return []phrase.Phrase{text}
}

// wellFilled is the share of the set size below which a finding says why.
const wellFilled = 0.9

// notFull explains batches that held fewer than the set size.
func notFull(c cell, cfg Config) []phrase.Phrase {
	if c.effective <= 0 || c.effective >= wellFilled*float64(c.batchSize) {
		return nil
	}
	return []phrase.Phrase{phrase.Say("At batch size %d the batches held %.2f requests on average: %s.", c.batchSize, c.effective, whyNotFull(c, cfg))}
}

func whyNotFull(c cell, cfg Config) phrase.Phrase {
	if cfg.Concurrency > 0 && cfg.Concurrency < c.batchSize {
		return phrase.Say("only %d callers send at once", cfg.Concurrency)
	}
	why := []phrase.Phrase{releasedEarly(c, cfg)}
	// With every in-flight place taken by a full batch, who is left to fill one more?
	if left := cfg.Concurrency - cfg.MaxInFlight*c.batchSize; cfg.Concurrency > 0 && left < c.batchSize {
		why = append(why, phrase.Say("of %d callers, %d full batches in flight leave %d to fill the next", cfg.Concurrency, cfg.MaxInFlight, max(0, left)))
	}
	return phrase.Clauses(why)
}

// releasedEarly counts the reasons other than a full batch.
func releasedEarly(c cell, cfg Config) phrase.Phrase {
	counts := map[string]int{}
	total := 0
	for _, r := range c.runs {
		for reason, n := range r.ReleaseReasons {
			counts[reason] += n
			total += n
		}
	}
	delete(counts, "full")
	if total == 0 || len(counts) == 0 {
		return phrase.Say("the receipts name no reason")
	}
	var parts []phrase.Phrase
	for _, reason := range sortedKeys(counts) {
		parts = append(parts, phrase.Say("%.0f %% were released because %s", 100*float64(counts[reason])/float64(total), meaning(reason, cfg)))
	}
	return phrase.Series(parts)
}

// meaning explains a release reason.
func meaning(reason string, cfg Config) phrase.Phrase {
	switch reason {
	case "wait":
		return phrase.Say("its oldest request had waited %s s", given(cfg.MaxWaitSeconds))
	case "budget":
		return phrase.Say("its tokens or bytes reached the budget")
	case "deadline":
		return phrase.Say("a request's deadline was near")
	case "idle":
		return phrase.Say("a place in flight was free and nothing may wait")
	case "drain":
		return phrase.Say("the proxy was draining")
	}
	return phrase.Say("reason %s", reason)
}

// change is b's throughput against a's: +12.3 %.
func change(a, b cell) phrase.Phrase { return percent(b.throughput, a.throughput) }

func certainty(a, b cell) phrase.Phrase {
	switch compare(a, b) {
	case differ:
		return phrase.Say("The repeats tell them apart.")
	case alike:
		return phrase.Say("The repeats do not tell them apart.")
	}
	return phrase.Say("There are not enough repeats to tell them apart.")
}

func certaintyClause(a, b cell) phrase.Phrase {
	switch compare(a, b) {
	case differ:
		return phrase.Say("(told apart)")
	case alike:
		return phrase.Say("(not told apart)")
	}
	return phrase.Say("(not enough repeats to tell)")
}
