package report

import (
	"fmt"
	"slices"
	"strings"
)

// findings are sentences that follow from the figures of one phase.
func (r Report) findings(phase string) []string {
	cells := r.cells(phase)
	sized := bySize(cells)
	var out []string
	if len(sized) >= 2 {
		out = append(out, trend(sized))
	}
	for _, other := range []struct{ setting, what string }{
		{"unbatched", "single calls through the proxy, without waiting or an in-flight cap"},
		{"direct", "single calls straight to SGLang"},
	} {
		if base, ok := find(cells, other.setting); ok && len(sized) > 0 {
			out = append(out, against(base, best(sized), other.what))
		}
	}
	for _, c := range sized {
		if c.effective > 0 && c.effective < 0.9*float64(c.batchSize) {
			out = append(out, fmt.Sprintf("At batch size %d the batches held %.2f requests on average: %s.", c.batchSize, c.effective, whyNotFull(c, r.Config)))
		}
	}
	return out
}

// trend says how throughput follows the size.
func trend(sized []cell) string {
	first, last := sized[0], sized[len(sized)-1]
	text := fmt.Sprintf("From batch size %d to %d the throughput goes from %s to %s requests/s (%s)",
		first.batchSize, last.batchSize, rate(first.throughput), rate(last.throughput), percent(last.throughput/first.throughput-1))
	rising := slices.IsSortedFunc(sized, func(a, b cell) int { return sign(a.throughput - b.throughput) })
	falling := slices.IsSortedFunc(sized, func(a, b cell) int { return sign(b.throughput - a.throughput) })
	switch {
	case rising:
		text += ", rising at every step"
	case falling:
		text += ", falling at every step"
	default:
		b := best(sized)
		text += fmt.Sprintf(", with the highest figure at %d", b.batchSize)
	}
	if knee, ok := kneeOf(sized); ok {
		text += fmt.Sprintf("; from size %d on, larger batches add less than 5 %%", knee)
	}
	return text + "."
}

// kneeOf is the smallest size within 5 % of the best, if it is not the largest.
func kneeOf(sized []cell) (int, bool) {
	top := best(sized).throughput
	for _, c := range sized[:len(sized)-1] {
		if c.throughput >= top/1.05 {
			return c.batchSize, true
		}
	}
	return 0, false
}

func best(cells []cell) cell {
	return slices.MaxFunc(cells, func(a, b cell) int { return sign(a.throughput - b.throughput) })
}

func against(base, b cell, what string) string {
	text := fmt.Sprintf("%s (%s) reach %s requests/s; batch size %d reaches %s, %s: ",
		upperFirst(what), base.setting, rate(base.throughput), b.batchSize, rate(b.throughput), percent(b.throughput/base.throughput-1))
	switch compare(base, b) {
	case differ:
		return text + "the repeats tell them apart."
	case alike:
		return text + "the repeats do not tell them apart."
	}
	return text + "too few repeats to tell them apart."
}

// whyNotFull is the arithmetic behind batches that were not full.
func whyNotFull(c cell, cfg Config) string {
	reasons := map[string]int{}
	total := 0
	for _, r := range c.runs {
		for reason, n := range r.ReleaseReasons {
			reasons[reason] += n
			total += n
		}
	}
	if total == 0 {
		return "the receipts name no reason"
	}
	if room := cfg.Concurrency; room < c.batchSize {
		return fmt.Sprintf("only %d callers send at once", room)
	}
	return fmt.Sprintf("%.0f %% of them were released because the oldest request had waited its %s s",
		100*float64(reasons["wait"])/float64(total), short(cfg.MaxWaitSeconds))
}

// conclusion is the recommendation, as far as the figures carry one.
func (r Report) conclusion() []string {
	var out []string
	for _, phase := range r.phases() {
		cells := r.cells(phase)
		sized := bySize(cells)
		if len(sized) == 0 {
			out = append(out, fmt.Sprintf("%s: no batch size has a figure, so there is nothing to recommend.", upperFirst(phase)))
			continue
		}
		out = append(out, upperFirst(phase)+": "+recommend(cells, sized))
	}
	if r.Partial {
		out = append(out, "The sweep was cut short: settings that are missing above were not measured, and any of them may be better.")
	}
	if r.Simulated {
		out = append(out, "No model ran. The figures are those of the simulated server named above; they show how batching meets such costs, and are no measurement of that device.")
	}
	return out
}

func recommend(cells, sized []cell) string {
	top := best(sized)
	var equal []cell
	few := false
	for _, c := range sized {
		switch {
		case c.setting == top.setting:
			equal = append(equal, c)
		case compare(c, top) == alike:
			equal = append(equal, c)
		case compare(c, top) == tooFewRepeats:
			few = true
		}
	}
	var text string
	switch {
	case few:
		text = fmt.Sprintf("batch size %d has the highest figure, %s requests/s, but there are fewer than three repeats, so how certain that is can't be said.", top.batchSize, rate(top.throughput))
	case len(equal) > 1:
		text = fmt.Sprintf("batch sizes %s can't be told apart; take %d, the smallest of them: its requests wait least for a batch.", sizes(equal), equal[0].batchSize)
	case len(sized) == 1:
		text = fmt.Sprintf("only batch size %d was measured, at %s requests/s.", top.batchSize, rate(top.throughput))
	default:
		text = fmt.Sprintf("batch size %d is best, at %s requests/s (%s to %s over the repeats).", top.batchSize, rate(top.throughput), rate(top.low), rate(top.high))
	}
	if base, ok := find(cells, "unbatched"); ok && base.throughput > top.throughput && compare(base, top) == differ {
		text += fmt.Sprintf(" Single calls without batching are faster here, at %s requests/s: on this server batching of this kind costs more than it saves.", rate(base.throughput))
	}
	return text
}

func sizes(cells []cell) string {
	names := make([]string, len(cells))
	for i, c := range cells {
		names[i] = c.setting
	}
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// notes say what the figures suffer from, and how they were taken.
func (r Report) notes() []string {
	out := []string{
		"Only answers received in full count; a run lasts from its first send to its last end.",
		"Tokens are those that the server counted. The cached share is of prompt tokens.",
		"Each figure is the median of its repeats; the range beside it is their lowest and highest. Settings share a rank when " +
			"a permutation test finds that chance makes such a difference more often than one time in ten; three repeats are the least that can tell.",
		"Cold: SGLang's cache was flushed just before the run. Warm: the run before sent the same prompts at the same setting. " +
			"A few unmeasured prompts went first, before the first flush.",
	}
	if r.Config.Repeats < 3 {
		out = append(out, fmt.Sprintf("%d repeat(s): not enough to tell settings apart. Ranks only follow the figures.", r.Config.Repeats))
	}
	if r.Source.Kind == "generated" {
		out = append(out, "The trajectories are generated: their lengths follow measured distributions, their words mean nothing.")
	}
	if r.Source.Kind == "problems" {
		out = append(out, "The source holds problem statements without trajectories: it knows no execution times.")
	}
	failures := map[string]int{}
	unsent := 0
	for _, run := range r.Runs {
		for cause, n := range run.Errors {
			failures[cause] += n
		}
		unsent += run.Total - run.Completed - run.Failed
	}
	for _, cause := range slices.Sorted(keys(failures)) {
		out = append(out, fmt.Sprintf("%d requests failed with %s; they are in no throughput.", failures[cause], cause))
	}
	if unsent > 0 {
		out = append(out, fmt.Sprintf("%d prompts were not sent because the sweep was cut short.", unsent))
	}
	return append(out, r.coldWarmNote()...)
}

// coldWarmNote warns where warm runs were not warm.
func (r Report) coldWarmNote() []string {
	share := func(phase string) (float64, bool) {
		var p, c int64
		for _, run := range r.Runs {
			if run.Phase == phase {
				p, c = p+run.PromptTokens, c+run.CachedTokens
			}
		}
		return Run{PromptTokens: p, CachedTokens: c}.CachedShare(), p > 0
	}
	cold, okCold := share("cold")
	warm, okWarm := share("warm")
	if !okCold || !okWarm || warm > 0.9 {
		return nil
	}
	return []string{fmt.Sprintf("Only %.0f %% of the prompt tokens were cached in warm runs (%.0f %% in cold ones): SGLang's cache (%d tokens) does not hold all prompts of a run, so warm is not fully warm.",
		100*warm, 100*cold, r.Server.KVCacheTokens)}
}
