package report

import (
	"strings"

	"paceline/loadgen/number"
	"paceline/loadgen/phrase"
)

func (d *document) overview(r Report) {
	s, c, e := r.Server, r.Config, r.Environment
	d.heading(2, phrase.Say("Test overview"))
	d.table([]string{"", ""}, [][]any{
		{phrase.Say("Test time"), r.CreatedAt.UTC().Format("2006-01-02 15:04:05 UTC")},
		{phrase.Say("Time measured"), r.measuredText()},
		{phrase.Say("Model"), modelText(s)},
		{phrase.Say("Device"), stored(s.Device)},
		{phrase.Say("Server"), r.serverText()},
		{phrase.Say("Model load time"), r.loadTimeText()},
		{phrase.Say("Trajectories"), r.trajectoriesText()},
		{phrase.Say("Source"), r.sourceText()},
		{phrase.Say("Prompts"), phrase.Say("%s bytes in all, %s on average; %s", number.Thousands(r.Source.PromptBytesTotal), number.Thousands(r.meanBytes()), phrase.Stored(r.Source.Template))},
		{phrase.Say("Load"), c.LoadText()},
		{phrase.Say("Settings"), phrase.Say("batch %s; %s of each, in random order (seed %d)", c.settingsText(), phrase.Count(c.Repeats, "%s repeat", "%s repeats"), c.Seed)},
		{phrase.Say("Batching"), c.batchingText()},
		{phrase.Say("Configuration"), r.configurationText()},
		{phrase.Say("Proxy"), told(r.ProxyVersion)},
		{phrase.Say("Load generator"), phrase.Say("loadgen %s, %s, %s/%s, %s", told(r.Version), told(e.GoVersion), told(e.OS), told(e.Arch), phrase.Count(e.CPUs, "%s CPU", "%s CPUs"))},
		{phrase.Say("Its machine"), phrase.Say("%s; %s", told(e.CPUModel), told(e.OSVersion))},
	})
}

// told says so where the server did not tell.
func told(s string) phrase.Phrase {
	if s == "" {
		return phrase.Say("not told")
	}
	return phrase.Name(s)
}

// stored is told for what may be a sentence of ours.
func stored(s string) phrase.Phrase {
	if s == "" {
		return phrase.Say("not told")
	}
	return phrase.Stored(s)
}

func toldTokens(n uint64) phrase.Phrase {
	if n == 0 {
		return phrase.Say("not told")
	}
	return phrase.Name(number.Thousands(n))
}

func modelText(s Server) phrase.Phrase {
	if s.ModelPath == "" || s.ModelPath == s.Model {
		return stored(s.Model)
	}
	return phrase.Say("%s (%s)", stored(s.Model), s.ModelPath)
}

func (r Report) serverText() phrase.Phrase {
	s := r.Server
	parts := []phrase.Phrase{phrase.Say("SGLang %s; tokens a forward: %s; KV cache tokens: %s; longest prompt, tokens: %s; scheduling: %s",
		told(s.Version), toldTokens(s.ChunkedPrefillTokens), toldTokens(s.KVCacheTokens), toldTokens(s.MaxPromptTokens), told(s.SchedulePolicy))}
	if r.Simulated {
		parts[0] = phrase.Say("simulated %s", parts[0])
	}
	if s.TextsSent != "" {
		parts = append(parts, phrase.Say("prompts sent %s", phrase.Stored(s.TextsSent)))
	}
	if !r.Simulated {
		parts = append(parts, phrase.Say("at %s", told(s.URL)))
	}
	return phrase.Clauses(parts)
}

func (r Report) loadTimeText() phrase.Phrase {
	switch load := r.Server.LoadSeconds; {
	case load == nil:
		return phrase.Say("not told by the server")
	case r.Simulated:
		return phrase.Say("%s s (simulated, from the profile)", short(*load))
	default:
		return phrase.Say("%s s", short(*load))
	}
}

// measuredText is how long the runs took together, without what lies between.
func (r Report) measuredText() phrase.Phrase {
	var wall, clock float64
	for _, run := range r.Runs {
		wall += run.WallSeconds
		clock += run.WallClockSeconds
	}
	runs := phrase.Count(len(r.Runs), "%s run", "%s runs")
	if r.Simulated {
		return phrase.Say("%s s in %s (simulated; %s s of real time)", number.Significant(wall, 3), runs, number.Significant(clock, 3))
	}
	return phrase.Say("%s s in %s", number.Significant(wall, 3), runs)
}

func (r Report) sourceText() phrase.Phrase {
	switch r.Source.Kind {
	case "generated":
		return phrase.Say("generated, seed %d", r.Source.Seed)
	case "problems":
		return phrase.Say("problem statements of %s", r.Source.File)
	case "trace":
		return phrase.Say("recorded trace %s", r.Source.File)
	}
	return phrase.Say("R2E-Gym trajectories of %s", r.Source.File)
}

func (r Report) configurationText() phrase.Phrase {
	if len(r.Environment.Args) == 0 {
		return phrase.Say("no file; all flags at their defaults")
	}
	return phrase.Say("no file; flags `%s`", strings.ReplaceAll(strings.Join(r.Environment.Args, " "), "`", "'"))
}

func (r Report) meanBytes() int64 {
	if r.Source.Requests > 0 {
		return r.Source.PromptBytesTotal / int64(r.Source.Requests)
	}
	if r.Source.Count == 0 {
		return 0
	}
	return r.Source.PromptBytesTotal / int64(r.Source.Count)
}

// trajectoriesText says how many there are, and what of each is sent.
func (r Report) trajectoriesText() phrase.Phrase {
	s := r.Source
	if text, ok := s.otherText(); ok {
		return text
	}
	count, scale := number.Thousands(s.Count), given(s.EnvScale)
	text := phrase.Say("%s, the first turn of each", count)
	if s.Requests > 0 && s.Turns != 1 {
		text = phrase.Say("%s, all turns of each, %s times the environment's time between them", count, scale)
		if s.Turns > 0 {
			text = phrase.Say("%s, up to %d turns of each, %s times the environment's time between them", count, s.Turns, scale)
		}
	}
	if s.Rollouts > 1 {
		text = s.staggered(phrase.Say("%s, each %d times", text, s.Rollouts))
	}
	if s.Requests > 0 && s.Requests != s.Count {
		text = phrase.Say("%s: %s requests", text, number.Thousands(s.Requests))
	}
	return text
}
