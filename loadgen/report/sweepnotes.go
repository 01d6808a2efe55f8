package report

import (
	"slices"

	"paceline/loadgen/phrase"
	"paceline/loadgen/stats"
)

// sweepNotes say how the sweep itself went: cut and resumed, ended early, sent by
// several processes.
func (r Report) sweepNotes() (out []phrase.Phrase) {
	if n := len(r.Resumed); n > 0 {
		times := make([]string, n)
		for i, at := range r.Resumed {
			times[i] = at.UTC().Format("2006-01-02 15:04:05 UTC")
		}
		before := 0
		for _, run := range r.Runs {
			if run.StartedAt.Before(r.Resumed[n-1]) {
				before++
			}
		}
		out = append(out, phrase.Say("The sweep was resumed at %s: %s were measured before that and kept. A setting and repeat whose warm or cold run was missing was measured again.",
			phrase.List(phrase.Names(times)), phrase.Count(before, "%s run", "%s runs")))
	}
	if r.Config.StopWhen > 0 {
		out = append(out, r.stoppedEarly()...)
	}
	if r.Merged > 0 {
		out = append(out, phrase.Say("The load was sent by %d processes, each a part of the conversations. Counts and tokens are their sums; a run lasts from the first start to the last end by their clocks; percentiles come from joined histograms and are within 0.1 %%.", r.Merged))
	}
	if r.Shard != nil {
		out = append(out, phrase.Say("This is shard %d of %d: a part of the load. Its throughputs are not those of the server.", r.Shard.Index, r.Shard.Of))
	}
	if slices.Equal(r.Config.Phases, []string{"warm"}) {
		out = append(out, phrase.Say("Only warm runs were asked for: before each, the same prompts were sent once unmeasured."))
	}
	if slices.ContainsFunc(r.Runs, func(run Run) bool { return run.ServerSequences != nil }) {
		out = append(out, phrase.Say("SGLang's own batch size is the mean of #new-seq in its log, a line for each forward. A prompt that it cuts in chunks is new in each of them."))
	}
	return out
}

// stoppedEarly names the settings whose repeats ended before the last.
func (r Report) stoppedEarly() []phrase.Phrase {
	var early []phrase.Phrase
	for _, setting := range r.Config.Settings {
		last := 0
		for _, run := range r.Runs {
			if run.Setting == setting {
				last = max(last, run.Repeat)
			}
		}
		if last > 0 && last < r.Config.Repeats && !r.Partial {
			early = append(early, phrase.Say("%s (%d)", combination(setting), last))
		}
	}
	what := phrase.Say("No setting's interval became so narrow.")
	if len(early) > 0 {
		what = phrase.Say("They ended early at %s.", phrase.Clauses(early))
	}
	return []phrase.Phrase{phrase.Sentences(
		phrase.Say("Repeats of a setting were to end, from %d on and at %d at the latest, once its 95 %% interval reached no further than %s to either side.",
			stats.FewestForInterval, r.Config.Repeats, shareText(r.Config.StopWhen)),
		what,
		phrase.Say("Ending so favours repeats that happen to agree: an interval that ended early is narrower than an honest one."))}
}
