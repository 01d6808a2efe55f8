package report

import (
	"slices"
	"strings"

	"paceline/loadgen/number"
	"paceline/loadgen/phrase"
	"paceline/loadgen/stats"
)

// notes are what a reader of the figures must know about the data.
func (r Report) notes(phases []phase) []phrase.Phrase {
	out := []phrase.Phrase{
		phrase.Say("Only answers received in full count. A run lasts from its first send to its last end; throughput is the answers divided by that time."),
		phrase.Say("Prompt and cached tokens are as the server counted them. Input tokens/s counts cached tokens too."),
		phrase.Say("Each figure is the median of its repeats. Settings share a rank when a permutation test finds that chance alone sets their repeats so far apart more often than %.0f times in 100. "+
			"With many settings one pair may still be told apart by chance.", 100*byChance),
		phrase.Say("Cold: SGLang's cache was flushed just before the run. Warm: the run before sent the same prompts at the same setting."),
	}
	out = append(out, r.directNotes()...)
	out = append(out, r.sweepNotes()...)
	out = append(out, r.repeatNotes(phases)...)
	out = append(out, r.sourceNotes()...)
	out = append(out, r.failureNotes()...)
	out = append(out, comparableNotes(phases)...)
	out = append(out, r.cacheNotes()...)
	out = append(out, r.loadNotes()...)
	out = append(out, r.arrivalNotes()...)
	for _, run := range r.Runs {
		for _, note := range run.Notes {
			out = append(out, phrase.Say("%s: %s.", runName(run), phrase.Stored(note)))
		}
	}
	return out
}

func runName(r Run) phrase.Phrase {
	return phrase.Say("%s, %s, repeat %d", phrase.Capital(settingName(r.Setting)), phaseName(r.Phase), r.Repeat)
}

func (r Report) repeatNotes(phases []phase) []phrase.Phrase {
	rounds := false
	for _, p := range phases {
		for _, c := range p.cells {
			if c.ranked && tooFew(c) {
				return []phrase.Phrase{phrase.Say("Not enough repeats to tell: some settings have fewer than %d comparable runs. Their ranks only follow the figures.", stats.FewestToCompare)}
			}
			rounds = rounds || len(c.runs) >= stats.FewestPairs
		}
	}
	if !rounds {
		return nil
	}
	return []phrase.Phrase{phrase.Say("Settings with %d repeats or more are compared within rounds: in each round every setting was measured once, so a machine that gets slower or faster meanwhile favours none.", stats.FewestPairs)}
}

// directNotes says where going through the proxy differs in more than the proxy.
func (r Report) directNotes() []phrase.Phrase {
	direct := slices.ContainsFunc(r.Runs, func(run Run) bool { return run.Setting == "direct" })
	if !direct || !strings.HasPrefix(r.Server.TextsSent, "as token ids") {
		return nil
	}
	return []phrase.Phrase{phrase.Say("Direct sends texts, which SGLang tokenizes; the proxy tokenizes and sends token ids. What the two differ by is the sum of both.")}
}

func (r Report) sourceNotes() []phrase.Phrase {
	var out []phrase.Phrase
	switch r.Source.Kind {
	case "generated":
		out = append(out, phrase.Say("The trajectories are generated: their lengths follow measured distributions, their words mean nothing."))
	case "problems":
		out = append(out, phrase.Say("The source holds problem statements without trajectories: it knows no execution times."))
	}
	if r.Simulated {
		out = append(out, phrase.Say("Repeats of a simulated sweep differ only by the timing of the machine that simulates: their spread is no real server's."))
	}
	return out
}

// failureNotes counts what has no answer, by cause.
func (r Report) failureNotes() []phrase.Phrase {
	failures := map[string]int{}
	unsent := 0
	for _, run := range r.Runs {
		for cause, n := range run.Errors {
			failures[cause] += n
		}
		unsent += max(0, run.Total-run.Completed-run.Failed-run.Dropped())
	}
	var out []phrase.Phrase
	for _, cause := range sortedKeys(failures) {
		out = append(out, phrase.Say("%s failed with %s%s; none of them is in a throughput.", phrase.Count(failures[cause], "%s request", "%s requests"), phrase.Stored(cause), r.causeMeaning(cause)))
	}
	if unsent > 0 {
		out = append(out, phrase.Say("Never sent, because the sweep was cut short: %s.", phrase.Count(unsent, "%s prompt", "%s prompts")))
	}
	return out
}

// causeMeaning explains the gRPC codes that the load itself brings about.
func (r Report) causeMeaning(cause string) phrase.Phrase {
	switch cause {
	case "InvalidArgument":
		if r.Server.MaxPromptTokens > 0 {
			return phrase.Say(" (refused as they are; one cause is a prompt longer than the %s tokens that the server accepts)", number.Thousands(r.Server.MaxPromptTokens))
		}
		return phrase.Say(" (refused as they are, for example as longer than the model's context)")
	case "ResourceExhausted":
		return phrase.Say(" (the proxy's queue was full)")
	case "DeadlineExceeded":
		return phrase.Say(" (no answer within the time limit of a request)")
	case "Canceled":
		return phrase.Say(" (cut off by the interruption)")
	}
	return phrase.Phrase{}
}

// comparableNotes names the runs that count for less than the others.
func comparableNotes(phases []phase) []phrase.Phrase {
	var out []phrase.Phrase
	for _, p := range phases {
		for _, c := range p.cells {
			name := phrase.Say("%s, %s", phrase.Capital(settingName(c.setting)), phaseName(p.name))
			switch left := len(c.all) - len(c.runs); {
			case len(c.runs) == 0:
				out = append(out, phrase.Say("%s: no prompt was answered, so there is no figure.", name))
			case !c.ranked:
				out = append(out, phrase.Say("%s: cut short or with too few answers to be compared, so it has no rank; its figures are of the answered prompts.", name))
			case left > 0:
				out = append(out, phrase.Say("%s: %d of %d runs left out of the figures, cut short or with too few answers to be compared.", name, left, len(c.all)))
			}
		}
	}
	return out
}

// cacheMargin is how far the cached share of tokens may be from the shared
// share of bytes: a start of the prompts has another number of bytes per token
// than the rest.
const cacheMargin = 0.05

// cacheNotes hold the cold runs' cached share against what prompts share.
func (r Report) cacheNotes() []phrase.Phrase {
	if r.Source.SharedBytes <= 0 || r.Source.PromptBytesTotal <= 0 {
		return nil
	}
	shared := share(r.Source.SharedBytes, r.Source.PromptBytesTotal)
	var above []phrase.Phrase
	cold := 0
	for _, run := range r.Runs {
		if run.Phase != "cold" || run.PromptTokens == 0 {
			continue
		}
		cold++
		if run.CachedShare() > shared+cacheMargin {
			above = append(above, phrase.Say("%s repeat %d (%s)", settingName(run.Setting), run.Repeat, shareText(run.CachedShare())))
		}
	}
	if cold == 0 {
		return nil
	}
	out := phrase.Say("Prompts begin alike: %s of their bytes repeat the start of another prompt, which is what a cold run can find in the cache.", shareText(shared))
	if len(above) > 0 {
		out = phrase.Sentences(out, phrase.Say("More was cached in %s: the cache was not empty there, so these runs are not really cold.", phrase.List(above)))
	}
	return []phrase.Phrase{out}
}

const (
	// saturatedShare of all CPUs in loadgen's own process: then it may wait for
	// itself and not for the server.
	saturatedShare = 0.9
	// accountMargin is how far the server's count of computed tokens may be
	// from that of the answers.
	accountMargin = 0.02
)

// loadNotes say where the generator, or somebody else's load, may be in the
// figures.
func (r Report) loadNotes() []phrase.Phrase {
	var busy, off []phrase.Phrase
	for _, run := range r.Runs {
		if cpu := run.ProcessCPUSeconds; cpu != nil && r.Environment.CPUs > 0 && *cpu > saturatedShare*run.WallClockSeconds*float64(r.Environment.CPUs*max(1, r.Merged)) {
			busy = append(busy, runLabel(run))
		}
		if run.strangeAccount() {
			off = append(off, runLabel(run))
		}
	}
	var out []phrase.Phrase
	if len(busy) > 0 {
		out = append(out, phrase.Say("Loadgen's process used over %.0f %% of all CPUs in %s: these figures may be its own limit and not the server's.", 100*saturatedShare, phrase.List(busy)))
	}
	if len(off) > 0 {
		out = append(out, phrase.Say("The server computed another number of tokens than the answers account for in %s: other clients, or failed or repeated requests.", phrase.List(off)))
	}
	return out
}

// strangeAccount says whether the server's own count of computed tokens is not
// that of the answers.
func (r Run) strangeAccount() bool {
	if r.ServerUncachedTokens == nil || r.PromptTokens == 0 {
		return false
	}
	off := *r.ServerUncachedTokens - (r.PromptTokens - r.CachedTokens)
	return float64(max(off, -off)) > accountMargin*float64(r.PromptTokens)
}

func runLabel(r Run) phrase.Phrase {
	return phrase.Say("%s %s repeat %d", settingName(r.Setting), phaseName(r.Phase), r.Repeat)
}
