package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// findings are sentences that follow from the figures of one phase.
func (p phase) findings(cfg Config) []string {
	if sides := p.sides(); len(sides) > 1 {
		return findingsOf(sides, cfg)
	}
	sized := p.sized()
	var out []string
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
func course(sized []cell) string {
	first, last := sized[0], sized[len(sized)-1]
	text := fmt.Sprintf("From batch size %d to %d, throughput goes from %s to %s requests/s (%s)%s.",
		first.batchSize, last.batchSize, rate(first.throughput), rate(last.throughput), change(first, last), monotony(sized))
	if len(sized) == 2 {
		return text + certainty(first, last)
	}
	steps := make([]string, len(sized)-1)
	unsure := false
	for i := range steps {
		a, b := sized[i], sized[i+1]
		steps[i] = fmt.Sprintf("%d→%d %s", a.batchSize, b.batchSize, change(a, b))
		switch compare(a, b) {
		case alike:
			steps[i] += " (not told apart)"
		case tooFewRepeats:
			unsure = true
		}
	}
	text += " Steps: " + strings.Join(steps, ", ") + "."
	if unsure {
		text += " There are not enough repeats to tell which steps are real."
	}
	return text
}

// monotony says whether the figures rise or fall throughout.
func monotony(sized []cell) string {
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
		return ", the same at every size"
	case downs == 0:
		return ", never falling"
	case ups == 0:
		return ", never rising"
	}
	return fmt.Sprintf(", not steadily: the highest figure is at %d, the lowest at %d", fastest(sized).batchSize, slowest(sized).batchSize)
}

func slowest(cells []cell) cell {
	return slices.MinFunc(cells, func(a, b cell) int { return cmp.Compare(a.throughput, b.throughput) })
}

// flat is the gain in throughput that counts as no more gain.
const flat = 0.05

// saturation says from which size on larger ones add little, or that the
// largest still does.
func saturation(sized []cell) string {
	top := fastest(sized)
	for _, c := range sized[:len(sized)-1] {
		if c.throughput*(1+flat) >= top.throughput {
			return fmt.Sprintf("Throughput saturates at batch size %d: no larger one is more than %.0f %% faster%s.", c.batchSize, 100*flat, caveat(sized))
		}
	}
	last, before := sized[len(sized)-1], sized[len(sized)-2]
	return fmt.Sprintf("No saturation in sight: %d, the largest size measured, is still %s against %d%s. Larger sizes may be faster.",
		last.batchSize, change(before, last), before.batchSize, certaintyClause(before, last))
}

// caveat marks a sentence that rests on the figures alone.
func caveat(cells []cell) string {
	if slices.ContainsFunc(cells, tooFew) {
		return ", as far as figures of so few repeats can say"
	}
	return ""
}

// againstOthers sets the other ways of sending beside the best size.
func (p phase) againstOthers(best cell) []string {
	var out []string
	for _, other := range []struct{ setting, what string }{
		{"auto", "Auto, which chooses size and batches in flight by itself,"},
		{"unbatched", "Single calls through the proxy, without waiting or in-flight cap (unbatched),"},
		{"direct", "Single calls straight to SGLang (direct)"},
	} {
		if single, ok := p.find(other.setting); ok {
			verb := "reach"
			if other.setting == "auto" {
				verb = "reaches"
			}
			out = append(out, fmt.Sprintf("%s %s %s requests/s; batch size %d, the best, reaches %s (%s).%s",
				other.what, verb, rate(single.throughput), best.batchSize, rate(best.throughput), change(single, best), certainty(single, best)))
		}
	}
	return out
}

// proxyCost is what the way through the proxy costs single calls.
func (p phase) proxyCost() []string {
	direct, ok := p.find("direct")
	unbatched, both := p.find("unbatched")
	if !ok || !both {
		return nil
	}
	return []string{fmt.Sprintf("The proxy itself: single calls through it make %s against those straight to SGLang.%s", change(direct, unbatched), certainty(direct, unbatched))}
}

// serverLimit says whether the server computed all the time. Then no way of
// sending can be much faster.
func serverLimit(best cell) []string {
	busy, ok := best.busyShare()
	if !ok {
		return nil
	}
	text := fmt.Sprintf("At batch size %d SGLang computed for %.0f %% of the time, by its own clock", best.batchSize, 100*busy)
	switch {
	case busy >= 0.9:
		text += ": its computing is the limit, and batching can only save what is done beside it."
	case busy < 0.5:
		text += ": most of the time went elsewhere (tokenizing and scheduling, the proxy, the network or the load generator)."
	default:
		text += "."
	}
	return []string{text}
}

// wellFilled is the share of the set size below which a finding says why.
const wellFilled = 0.9

// notFull explains batches that held fewer than the set size.
func notFull(c cell, cfg Config) []string {
	if c.effective <= 0 || c.effective >= wellFilled*float64(c.batchSize) {
		return nil
	}
	return []string{fmt.Sprintf("At batch size %d the batches held %.2f requests on average: %s.", c.batchSize, c.effective, whyNotFull(c, cfg))}
}

func whyNotFull(c cell, cfg Config) string {
	if cfg.Concurrency > 0 && cfg.Concurrency < c.batchSize {
		return fmt.Sprintf("only %d callers send at once", cfg.Concurrency)
	}
	why := releasedEarly(c, cfg)
	// With every in-flight place taken by a full batch, who is left to fill one more?
	if left := cfg.Concurrency - cfg.MaxInFlight*c.batchSize; cfg.Concurrency > 0 && left < c.batchSize {
		why += fmt.Sprintf("; of %d callers, %d full batches in flight leave %d to fill the next", cfg.Concurrency, cfg.MaxInFlight, max(0, left))
	}
	return why
}

// releasedEarly counts the reasons other than a full batch.
func releasedEarly(c cell, cfg Config) string {
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
		return "the receipts name no reason"
	}
	meaning := map[string]string{
		"wait":     fmt.Sprintf("its oldest request had waited %s s", given(cfg.MaxWaitSeconds)),
		"budget":   "its tokens or bytes reached the budget",
		"deadline": "a request's deadline was near",
		"idle":     "a place in flight was free and nothing may wait",
		"drain":    "the proxy was draining",
	}
	var parts []string
	for _, reason := range sortedKeys(counts) {
		text := meaning[reason]
		if text == "" {
			text = "reason " + reason
		}
		parts = append(parts, fmt.Sprintf("%.0f %% were released because %s", 100*float64(counts[reason])/float64(total), text))
	}
	return strings.Join(parts, ", ")
}

// change is b's throughput against a's: +12.3 %.
func change(a, b cell) string { return percent(b.throughput, a.throughput) }

func certainty(a, b cell) string {
	switch compare(a, b) {
	case differ:
		return " The repeats tell them apart."
	case alike:
		return " The repeats do not tell them apart."
	}
	return " There are not enough repeats to tell them apart."
}

func certaintyClause(a, b cell) string {
	switch compare(a, b) {
	case differ:
		return " (told apart)"
	case alike:
		return " (not told apart)"
	}
	return " (not enough repeats to tell)"
}
