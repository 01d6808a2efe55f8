package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"paceline/loadgen/prompt"
	"paceline/loadgen/report"
	"paceline/loadgen/target"
	"paceline/loadgen/trajectory"
)

// load is what a sweep sends: of each trajectory the first turn, or more of them, and
// that as often as there are rollouts.
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
		turns := o.conversation(own, t)
		for n := range o.rollouts {
			of := turns
			if n > 0 {
				of = slices.Clone(turns)
				for i := range of {
					of[i].ID = fmt.Sprintf("%s#%d", t.ID, n+1)
				}
			}
			l.prompts = append(l.prompts, of...)
			texts = append(texts, of[0].Text+of[0].Tail)
		}
		for i, p := range turns {
			source.PromptBytesTotal += int64(o.rollouts * (len(p.Text) + len(p.Tail)))
			if i > 0 {
				source.SharedBytes += int64(o.rollouts * len(turns[i-1].Text))
			}
		}
	}
	source.SharedBytes += report.SharedPrefixBytes(texts)
	source.Count, source.Requests = len(trajectories), len(l.prompts)
	source.Turns, source.Rollouts, source.EnvScale = o.turns, o.rollouts, o.envScale
	l.source = source
	l.envExec = envExec(trajectories)
	return l, nil
}

// conversation is the prompts of a trajectory's turns, at least the first. Each is sent
// after the one before was answered and the environment has worked.
func (o options) conversation(template prompt.Template, t trajectory.Trajectory) []target.Prompt {
	n := max(1, len(t.Steps))
	if o.turns > 0 {
		n = min(n, o.turns)
	}
	before := make([]prompt.Exchange, n-1)
	for i := range before {
		s := t.Steps[i]
		before[i] = prompt.Exchange{Thought: s.Thought, Action: s.Action, Observation: s.Observation}
	}
	turns := make([]target.Prompt, n)
	last := ""
	for i := n - 1; i >= 0; i-- { // the last first, of which the others are beginnings
		text, tail := prompt.RenderParts(o.template(), template.Turn(t.Problem, before[:i], t.MaxSteps))
		if strings.HasPrefix(last, text) {
			text = last[:len(text)] // not kept twice
		} else {
			last = text
		}
		turns[i] = target.Prompt{ID: t.ID, Text: text, Tail: tail, Follows: i > 0}
		if i > 0 {
			turns[i].Pause = time.Duration(o.envScale * t.Steps[i-1].EnvExecSeconds * float64(time.Second))
		}
	}
	return turns
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
