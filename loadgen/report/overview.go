package report

import (
	"fmt"
	"strings"

	"paceline/loadgen/number"
)

func (d *document) overview(r Report) {
	s, c, e := r.Server, r.Config, r.Environment
	d.heading(2, "Test overview")
	d.table([]string{"", ""}, [][]string{
		{"Test time", r.CreatedAt.UTC().Format("2006-01-02 15:04:05 UTC")},
		{"Time measured", r.measuredText()},
		{"Model", modelText(s)},
		{"Device", told(s.Device)},
		{"Server", r.serverText()},
		{"Model load time", r.loadTimeText()},
		{"Trajectories", r.trajectoriesText()},
		{"Source", r.sourceText()},
		{"Prompts", fmt.Sprintf("%s bytes in all, %s on average; %s", number.Thousands(r.Source.PromptBytesTotal), number.Thousands(r.meanBytes()), r.Source.Template)},
		{"Load", c.LoadText()},
		{"Settings", fmt.Sprintf("batch %s; %s of each, in random order (seed %d)", c.settingsText(), counted(c.Repeats, "repeat"), c.Seed)},
		{"Batching", c.batchingText()},
		{"Configuration", r.configurationText()},
		{"Load generator", fmt.Sprintf("loadgen %s, %s, %s/%s, %s", told(r.Version), told(e.GoVersion), told(e.OS), told(e.Arch), counted(e.CPUs, "CPU"))},
	})
}

// told says so where the server did not tell.
func told(s string) string {
	if s == "" {
		return "not told"
	}
	return s
}

func toldTokens(n uint64) string {
	if n == 0 {
		return "not told"
	}
	return number.Thousands(n)
}

func modelText(s Server) string {
	if s.ModelPath == "" || s.ModelPath == s.Model {
		return told(s.Model)
	}
	return fmt.Sprintf("%s (%s)", told(s.Model), s.ModelPath)
}

func (r Report) serverText() string {
	s := r.Server
	text := fmt.Sprintf("SGLang %s; tokens a forward: %s; KV cache tokens: %s; longest prompt, tokens: %s; scheduling: %s",
		told(s.Version), toldTokens(s.ChunkedPrefillTokens), toldTokens(s.KVCacheTokens), toldTokens(s.MaxPromptTokens), told(s.SchedulePolicy))
	if s.TextsSent != "" {
		text += "; prompts sent " + s.TextsSent
	}
	if r.Simulated {
		return "simulated " + text
	}
	return text + "; at " + told(s.URL)
}

func (r Report) loadTimeText() string {
	switch load := r.Server.LoadSeconds; {
	case load == nil:
		return "not told by the server"
	case r.Simulated:
		return short(*load) + " s (simulated, from the profile)"
	default:
		return short(*load) + " s"
	}
}

// measuredText is how long the runs took together, without what lies between.
func (r Report) measuredText() string {
	var wall, clock float64
	for _, run := range r.Runs {
		wall += run.WallSeconds
		clock += run.WallClockSeconds
	}
	text := fmt.Sprintf("%s s in %s", number.Significant(wall, 3), counted(len(r.Runs), "run"))
	if r.Simulated {
		text += fmt.Sprintf(" (simulated; %s s of real time)", number.Significant(clock, 3))
	}
	return text
}

func (r Report) sourceText() string {
	switch r.Source.Kind {
	case "generated":
		return fmt.Sprintf("generated, seed %d", r.Source.Seed)
	case "problems":
		return "problem statements of " + r.Source.File
	case "trace":
		return "recorded trace " + r.Source.File
	}
	return "R2E-Gym trajectories of " + r.Source.File
}

func (r Report) configurationText() string {
	if len(r.Environment.Args) == 0 {
		return "no file; all flags at their defaults"
	}
	return "no file; flags `" + strings.ReplaceAll(strings.Join(r.Environment.Args, " "), "`", "'") + "`"
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
func (r Report) trajectoriesText() string {
	s := r.Source
	if text, ok := s.otherText(); ok {
		return text
	}
	text := number.Thousands(s.Count) + ", the first turn of each"
	if s.Requests > 0 && s.Turns != 1 {
		text = fmt.Sprintf("%s, all turns of each, %s times the environment's time between them", number.Thousands(s.Count), given(s.EnvScale))
		if s.Turns > 0 {
			text = fmt.Sprintf("%s, up to %d turns of each, %s times the environment's time between them", number.Thousands(s.Count), s.Turns, given(s.EnvScale))
		}
	}
	if s.Rollouts > 1 {
		text += fmt.Sprintf(", each %d times%s", s.Rollouts, s.staggerText())
	}
	if s.Requests > 0 && s.Requests != s.Count {
		text += fmt.Sprintf(": %s requests", number.Thousands(s.Requests))
	}
	return text
}
