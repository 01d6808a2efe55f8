package main

import (
	"fmt"
	"path/filepath"

	"paceline/loadgen/prompt"
	"paceline/loadgen/report"
	"paceline/loadgen/target"
	"paceline/loadgen/trajectory"
)

// load is what a sweep sends: one first-turn prompt for each trajectory.
type load struct {
	prompts []target.Prompt
	source  report.Source
	envExec *report.EnvExec // nil where the source knows no execution times
}

// readLoad reads or makes the trajectories and renders their first turns.
func readLoad(o options) (load, error) {
	template, err := prompt.Load(o.system, o.instance)
	if err != nil {
		return load{}, inputError{err}
	}
	trajectories, source, err := readTrajectories(o)
	if err != nil {
		return load{}, inputError{err}
	}
	if len(trajectories) > o.prompts {
		trajectories = trajectories[:o.prompts]
	}
	source.Template = templateText(o, trajectories)
	var l load
	texts := make([]string, 0, len(trajectories))
	for _, t := range trajectories {
		own, err := template.For(t.SystemPrompt, t.InstancePrompt)
		if err != nil {
			return load{}, inputError{fmt.Errorf("trajectory %s: %w", t.ID, err)}
		}
		text := prompt.Render(o.template(), own.FirstTurn(t.Problem, t.MaxSteps))
		l.prompts = append(l.prompts, target.Prompt{ID: t.ID, Text: text})
		source.PromptBytesTotal += int64(len(text))
		texts = append(texts, text)
	}
	source.SharedBytes = report.SharedPrefixBytes(texts)
	source.Count = len(l.prompts)
	l.source = source
	l.envExec = envExec(trajectories)
	return l, nil
}

func readTrajectories(o options) ([]trajectory.Trajectory, report.Source, error) {
	switch {
	case o.trajectories != "":
		t, err := trajectory.ReadFile(o.trajectories)
		return t, report.Source{Kind: "trajectories", File: filepath.Base(o.trajectories)}, err
	case o.problems != "":
		t, err := trajectory.ReadProblems(o.problems)
		return t, report.Source{Kind: "problems", File: filepath.Base(o.problems)}, err
	}
	return trajectory.Generate(o.prompts, o.seed), report.Source{Kind: "generated", Seed: o.seed}, nil
}

// templateText names the prompts around the problem statements.
func templateText(o options, trajectories []trajectory.Trajectory) string {
	own := "our own"
	if len(trajectories) > 0 && trajectories[0].SystemPrompt != "" {
		own = "the trajectories' own"
	}
	name := func(file string) string {
		if file == "" {
			return own
		}
		return filepath.Base(file)
	}
	chat := map[prompt.ChatTemplate]string{prompt.Qwen25: "Qwen2.5", prompt.Qwen3: "Qwen3", prompt.Plain: "no"}[o.template()]
	return fmt.Sprintf("system prompt: %s; instance prompt: %s; %s chat template", name(o.system), name(o.instance), chat)
}
