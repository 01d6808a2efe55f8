package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"paceline/loadgen/prompt"
	"paceline/loadgen/report"
	"paceline/loadgen/target"
	"paceline/loadgen/trajectory"
)

// load is what a sweep sends: of each trajectory the first turn, or more of them, and
// that as often as there are rollouts; or the requests of a recorded trace.
type load struct {
	prompts []target.Prompt
	source  report.Source
	envExec *report.EnvExec // nil where the source knows no execution times
}

// readLoad reads or makes what is to be sent.
func readLoad(o options) (load, error) {
	if o.trace != "" {
		return readRecorded(o)
	}
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
	l := load{source: source, envExec: envExec(trajectories)}
	var texts []string // the first turns
	kinds := o.mix.assign(len(trajectories), o.seed)
	for i, t := range trajectories {
		own, err := template.For(t.SystemPrompt, t.InstancePrompt)
		if err != nil {
			return load{}, inputError{fmt.Errorf("trajectory %s: %w", t.ID, err)}
		}
		n, copies := o.of(kinds[i])
		turns := o.conversation(own, t, n)
		for c := range copies {
			l.prompts = append(l.prompts, o.copyOf(turns, c, kinds[i])...)
			texts = append(texts, turns[0].Text+turns[0].Tail)
		}
		for k, p := range turns {
			l.source.PromptBytesTotal += int64(copies * (len(p.Text) + len(p.Tail)))
			if k > 0 {
				l.source.SharedBytes += int64(copies * len(turns[k-1].Text))
			}
		}
		if kinds[i] != "" {
			if l.source.Mix == nil {
				l.source.Mix = map[string]int{}
			}
			l.source.Mix[kinds[i]]++
		}
	}
	l.source.SharedBytes += report.SharedPrefixBytes(texts)
	l.source.Count, l.source.Requests = len(trajectories), len(l.prompts)
	l.source.Turns, l.source.Rollouts, l.source.EnvScale = o.turns, o.rollouts, o.envScale
	l.source.StaggerSeconds = o.stagger.Seconds()
	return l, nil
}

// copyOf is the n-th copy of a conversation, from 0.
func (o options) copyOf(turns []target.Prompt, n int, kind string) []target.Prompt {
	of := make([]target.Prompt, len(turns))
	for i, p := range turns {
		p.Kind = kind
		if n > 0 {
			p.ID = fmt.Sprintf("%s#%d", p.ID, n+1)
		}
		of[i] = p
	}
	if n > 0 {
		of[0].Joins, of[0].Stagger = true, o.stagger
	}
	return of
}

// conversation is the prompts of a trajectory's first n turns, all of them for 0, at
// least the first. Each is sent after the one before was answered and the environment
// has worked.
func (o options) conversation(template prompt.Template, t trajectory.Trajectory, n int) []target.Prompt {
	if n == 0 || n > len(t.Steps) {
		n = max(1, len(t.Steps))
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
	chat, ok := map[prompt.ChatTemplate]string{prompt.Qwen25: "Qwen2.5", prompt.Qwen3: "Qwen3", prompt.Plain: "no"}[o.template()]
	if !ok {
		chat = o.template().String() + "'s"
	}
	return fmt.Sprintf("system prompt: %s; instance prompt: %s; %s chat template", name(o.system), name(o.instance), chat)
}
