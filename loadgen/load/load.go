// Package load makes the prompts that a sweep sends: first turns, whole conversations or rollouts of
// trajectories, the requests of a recorded trace, or questions about states. Read Options
// first.
package load

import (
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"paceline/loadgen/prompt"
	"paceline/loadgen/report"
	"paceline/loadgen/target"
	"paceline/loadgen/trajectory"
)

// Options select what is sent. The errors of Validate name their flags.
type Options struct {
	Work  target.Work
	Count int    // trajectories or requests of a trace, at most; states
	Seed  uint64 // of generated trajectories and states

	States States // of Score and Decide

	// The source: one of these files, or generated trajectories.
	Trajectories, Problems, Trace string

	Turns    int     // of each trajectory; 0: all
	Rollouts int     // copies of each trajectory
	EnvScale float64 // share of the recorded execution time that passes before the next turn

	System, Instance string // files of prompts; empty: the trajectories' or our own
	ChatTemplate     string // a name or a file; see prompt.FindChatTemplate
}

// Validate names the flag whose value is out of range, or does not fit another.
func (o Options) Validate() error {
	switch {
	case o.asks() && (o.Trajectories != "" || o.Problems != "" || o.Trace != "" || o.Turns != 1 || o.Rollouts != 1):
		return fmt.Errorf("-work %s: sends questions about states: give it without -trajectories, -problems, -trace, -turns and -rollouts",
			o.Work)
	case o.Count < 1:
		return fmt.Errorf("-n: must be at least 1, got %d", o.Count)
	case o.Turns < 0:
		return fmt.Errorf("-turns: must be at least 0, got %d", o.Turns)
	case o.Rollouts < 1:
		return fmt.Errorf("-rollouts: must be at least 1, got %d", o.Rollouts)
	case !(o.EnvScale >= 0) || o.EnvScale > 1000:
		return fmt.Errorf("-env-scale: must be from 0 to 1000, got %v", o.EnvScale)
	case o.Trajectories != "" && o.Problems != "":
		return fmt.Errorf("-trajectories and -problems: give one, not both")
	case o.Trace != "" && (o.Trajectories != "" || o.Problems != ""):
		return fmt.Errorf("-trace: give it without -trajectories and -problems")
	case o.Trace != "" && (o.Turns != 1 || o.Rollouts != 1):
		return fmt.Errorf("-trace: has neither turns nor rollouts: give it without -turns and -rollouts")
	}
	if _, err := prompt.FindChatTemplate(o.ChatTemplate); err != nil {
		return fmt.Errorf("-chat-template: %w", err)
	}
	if o.asks() {
		return o.States.validate()
	}
	return nil
}

// asks reports whether the load is of questions about states.
func (o Options) asks() bool { return o.Work == target.Score || o.Work == target.Decide }

// Load is what a sweep sends.
type Load struct {
	Prompts []target.Prompt
	Source  report.Source
	EnvExec *report.EnvExec // nil if the source has no execution times
}

// Read reads or generates a load. All its errors are caused by the input.
func Read(o Options) (Load, error) {
	switch {
	case o.asks():
		return readStates(o), nil
	case o.Trace != "":
		return readTrace(o)
	}
	template, err := prompt.Load(o.System, o.Instance)
	if err != nil {
		return Load{}, err
	}
	chat, err := prompt.FindChatTemplate(o.ChatTemplate)
	if err != nil {
		return Load{}, err
	}
	all, source, err := readTrajectories(o)
	if err != nil {
		return Load{}, err
	}
	l := Load{Source: source, EnvExec: &report.EnvExec{}}
	s := &l.Source
	s.Template = templateText(o, chat, trajectory.Trajectory{})
	s.Turns, s.Rollouts, s.EnvScale = o.Turns, o.Rollouts, o.EnvScale
	var first []report.Parts // of the first turns
	var shared target.Prompt // whose Head and Tail others may have
	for t := range all {
		if s.Count == 0 {
			s.Template = templateText(o, chat, t)
		}
		own, err := template.For(t.SystemPrompt, t.InstancePrompt)
		if err != nil {
			return Load{}, fmt.Errorf("trajectory %s: %w", t.ID, err)
		}
		turns := o.conversation(chat, own, t, o.Turns)
		if len(turns) == 1 {
			turns[0] = share(turns[0], &shared)
		}
		for c := range o.Rollouts {
			l.Prompts = append(l.Prompts, copyOf(turns, c)...)
			first = append(first, report.Parts{turns[0].Head, turns[0].Text, turns[0].Tail})
		}
		count(s, turns, o.Rollouts)
		addExecution(l.EnvExec, t)
	}
	s.SharedBytes += report.SharedPrefixBytes(first)
	s.Requests = len(l.Prompts)
	if e := l.EnvExec; e.Trajectories == 0 {
		l.EnvExec = nil
	} else {
		e.MeanSeconds = e.TotalSeconds / float64(e.Trajectories)
		e.FirstFiveMean = e.FirstFiveTotal / float64(e.Trajectories)
		e.MeanSecondsAStep = e.TotalSeconds / float64(e.Steps)
	}
	return l, nil
}

// count adds a trajectory to a source. Shared bytes are those between its turns.
func count(s *report.Source, turns []target.Prompt, copies int) {
	s.Count++
	for k, p := range turns {
		s.PromptBytesTotal += int64(copies) * p.Bytes()
		if k > 0 {
			s.SharedBytes += int64(copies * len(turns[k-1].Text))
		}
	}
}

// share cuts off what a prompt has in common with an earlier one at its start and its end, and lets both
// have it in the same memory. The first prompt becomes the one to share with.
func share(p target.Prompt, with *target.Prompt) target.Prompt {
	text, of := p.Full(), with.Text
	if of == "" {
		with.Text = text
		return p
	}
	n := min(len(text), len(of))
	head, tail := 0, 0
	for head < n && text[head] == of[head] {
		head++
	}
	for tail < n-head && text[len(text)-1-tail] == of[len(of)-1-tail] {
		tail++
	}
	p.Head, p.Text, p.Tail = of[:head], strings.Clone(text[head:len(text)-tail]), of[len(of)-tail:]
	return p
}

// copyOf returns the n-th copy of a conversation, from 0.
func copyOf(turns []target.Prompt, n int) []target.Prompt {
	of := make([]target.Prompt, len(turns))
	for i, p := range turns {
		if n > 0 {
			p.ID = fmt.Sprintf("%s#%d", p.ID, n+1)
		}
		of[i] = p
	}
	if n > 0 {
		of[0].Joins = true
	}
	return of
}

// conversation returns the prompts of a trajectory's first n turns; all if n is 0. It returns at least
// the first.
func (o Options) conversation(chat prompt.ChatTemplate, template prompt.Template, t trajectory.Trajectory, n int) []target.Prompt {
	if n == 0 || n > len(t.Steps) {
		n = max(1, len(t.Steps))
	}
	turns := make([]target.Prompt, n)
	last := ""
	for i := n - 1; i >= 0; i-- { // the last turn first: the texts of the others are prefixes of its text
		text, tail := prompt.RenderParts(chat, template.Turn(t.Problem, t.Steps[:i], t.MaxSteps))
		if strings.HasPrefix(last, text) {
			text = last[:len(text)] // one copy in memory
		} else {
			last = text
		}
		turns[i] = target.Prompt{ID: t.ID, Text: text, Tail: tail, Follows: i > 0}
		if i < len(t.Steps) {
			turns[i].Recorded = max(0, t.Steps[i].PromptTokens)
		}
		if i > 0 {
			turns[i].Pause = time.Duration(o.EnvScale * t.Steps[i-1].EnvExecSeconds * float64(time.Second))
		}
	}
	return turns
}

// readTrajectories returns the trajectories. Generated ones are made one by one.
func readTrajectories(o Options) (all iter.Seq[trajectory.Trajectory], s report.Source, err error) {
	var read []trajectory.Trajectory
	switch {
	case o.Trajectories != "":
		s = report.Source{Kind: "trajectories", File: o.Trajectories}
		read, err = trajectory.ReadFile(o.Trajectories)
	case o.Problems != "":
		s = report.Source{Kind: "problems", File: o.Problems}
		read, err = trajectory.ReadProblems(o.Problems)
	default:
		return trajectory.Generated(o.Count, o.Seed), report.Source{Kind: "generated", Seed: o.Seed}, nil
	}
	return slices.Values(read[:min(len(read), o.Count)]), s, err
}

// readTrace makes a prompt for each request of a recorded trace, with the recorded length and the
// recorded shared prefixes.
func readTrace(o Options) (Load, error) {
	all, err := trajectory.ReadTraceFile(o.Trace, o.Count)
	if err != nil {
		return Load{}, fmt.Errorf("-trace: %w", err)
	}
	var made trajectory.Synthesis
	l := Load{Source: report.Source{
		Kind: "trace", File: o.Trace, Count: len(all), Requests: len(all), Turns: 1, Rollouts: 1,
		Template: "words that mean nothing, one token each; no chat template",
	}}
	texts := make([]report.Parts, len(all))
	for i, r := range all {
		text := made.Prompt(r)
		texts[i] = report.Parts{text}
		l.Prompts = append(l.Prompts, target.Prompt{ID: fmt.Sprintf("line-%d", r.Line), Text: text, At: r.At})
		l.Source.PromptBytesTotal += int64(len(text))
	}
	l.Source.SharedBytes = report.SharedPrefixBytes(texts)
	return l, nil
}

// templateText names the texts around the problem statements.
func templateText(o Options, chat prompt.ChatTemplate, first trajectory.Trajectory) string {
	name := func(file string) string {
		switch {
		case file != "":
			return filepath.Base(file)
		case first.SystemPrompt != "":
			return "the trajectories' own"
		}
		return "our own"
	}
	format, ok := map[prompt.ChatTemplate]string{prompt.Qwen25: "Qwen2.5", prompt.Qwen3: "Qwen3", prompt.Plain: "no"}[chat]
	if !ok {
		format = chat.String() + "'s"
	}
	return fmt.Sprintf("system prompt: %s; instance prompt: %s; %s chat template", name(o.System), name(o.Instance), format)
}

// addExecution adds the execution times of a trajectory that has steps.
func addExecution(e *report.EnvExec, t trajectory.Trajectory) {
	const few = 5
	if len(t.Steps) == 0 {
		return
	}
	e.Trajectories++
	e.Steps += len(t.Steps)
	e.TotalSeconds += t.EnvExecSeconds(0)
	e.FirstFiveTotal += t.EnvExecSeconds(few)
}
