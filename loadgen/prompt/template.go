// Package prompt turns a problem statement into the text that is sent to the model. A Template
// (template.go) makes the messages of a turn. Render (chat.go) flattens messages into one string in
// the model's chat format. Read Template first.
//
// The package reads only the template files that it is given. It never puts the text of a prompt into
// an error.
package prompt

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"paceline/loadgen/trajectory"
)

//go:embed system.txt
var defaultSystem string

//go:embed instance.txt
var defaultInstance string

// Placeholder marks where a Template's instance text takes the problem statement.
const Placeholder = "{problem_statement}"

// Template holds the two texts that open every trajectory. Take one from Default or Load.
type Template struct {
	System   string // the system message, sent as it is
	Instance string // the first user message; holds Placeholder exactly once

	systemGiven   bool // System came from a file that the user named
	instanceGiven bool // Instance did
}

// Roles of a Message, as every chat template spells them.
const (
	RoleSystem    = "system"
	RoleUser      = "user"
	RoleAssistant = "assistant"
)

// Message is one entry of a conversation.
type Message struct {
	Role    string
	Content string
}

// FirstTurn returns the messages of a trajectory's first request: the system text, and the instance
// text around problem with the remaining steps (withStepsRemaining). It replaces only the placeholder.
func (t Template) FirstTurn(problem string, stepsRemaining int) []Message {
	return withStepsRemaining([]Message{
		{Role: RoleSystem, Content: t.System},
		{Role: RoleUser, Content: strings.Replace(t.Instance, Placeholder, problem, 1)},
	}, stepsRemaining)
}

// Turn returns the messages of the request that follows some steps: the first turn, and for each step
// the model's words and the environment's answer. Earlier notes on the remaining steps stay. R2E-Gym
// sends the same messages.
func (t Template) Turn(problem string, before []trajectory.Step, maxSteps int) []Message {
	history := t.FirstTurn(problem, maxSteps)
	for i, s := range before {
		history = withStepsRemaining(append(history,
			Message{Role: RoleAssistant, Content: s.Thought + "\n\n" + s.Action},
			Message{Role: RoleUser, Content: s.Observation},
		), maxSteps-i-1)
	}
	return history
}

// withStepsRemaining applies R2E-Gym's rule (agent.py) to a history: the last message says how many
// steps remain or, at 0 and below, to submit at once. It changes that message in place and returns
// history. With R2E-Gym's wording, replayed prompts have exactly the token counts that real
// trajectories recorded.
func withStepsRemaining(history []Message, remaining int) []Message {
	note := "You have reached the maximum number of steps. Please submit your answer NOW."
	if remaining > 0 {
		note = "Steps Remaining: " + strconv.Itoa(remaining)
	}
	if len(history) > 0 {
		history[len(history)-1].Content += "\n" + note
	}
	return history
}

// For returns the template for a trajectory that may have its own prompts (R2E-Gym's agent_args; empty
// if none were recorded). Each text comes from the file that the user named, or else from the
// trajectory, or else from t. For fails if it needs the trajectory's instance text and that does not
// hold Placeholder exactly once.
func (t Template) For(system, instance string) (Template, error) {
	if system != "" && !t.systemGiven {
		t.System = system
	}
	if instance != "" && !t.instanceGiven {
		if err := checkInstance(instance); err != nil {
			return Template{}, fmt.Errorf("agent_args.instance_prompt: %w", err)
		}
		t.Instance = instance
	}
	return t, nil
}

func checkInstance(text string) error {
	switch n := strings.Count(text, Placeholder); n {
	case 1:
		return nil
	case 0:
		return fmt.Errorf("the placeholder %s is missing", Placeholder)
	default:
		return fmt.Errorf("the placeholder %s occurs %d times; it must occur once", Placeholder, n)
	}
}

// Default returns Paceline's own texts: a coding agent with the tools file_editor, execute_bash,
// search and finish. They have the shape and length of R2E-Gym's, so that first turns cost what the
// benchmark's did. Measured Qwen2.5 tokens, R2E-Gym's in brackets:
//
//	system text                          1246  (1249)
//	instance text before the placeholder   24  (25)
//	instance text after the placeholder  1150  (1153)
//	prefix common to all first turns     1278  (1282)
//
// The prefix includes Qwen25's marks up to the placeholder. It is 44 % of a first turn with a statement
// of average length, and the only part that a prefix cache can reuse.
func Default() Template {
	return Template{System: trimNewline(defaultSystem), Instance: trimNewline(defaultInstance)}
}

// Load reads the texts from files; an empty path means the default. It drops one line end at the end
// of a file, because editors add it. A file must be readable, UTF-8 and not empty. The instance file
// must hold Placeholder exactly once. The error names the file.
func Load(systemPath, instancePath string) (t Template, err error) {
	t = Default()
	if systemPath != "" {
		t.systemGiven = true
		if t.System, err = readText(systemPath); err != nil {
			return Template{}, fmt.Errorf("system prompt: %w", err)
		}
	}
	if instancePath != "" {
		t.instanceGiven = true
		if t.Instance, err = readText(instancePath); err == nil {
			err = atPath(instancePath, checkInstance(t.Instance))
		}
		if err != nil {
			return Template{}, fmt.Errorf("instance prompt: %w", err)
		}
	}
	return t, nil
}

func readText(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", err // names the path already
	}
	text := trimNewline(string(raw))
	switch {
	case text == "":
		err = errors.New("the file is empty")
	case !utf8.ValidString(text):
		err = errors.New("the file is not UTF-8")
	}
	return text, atPath(path, err)
}

// atPath adds the path of a file to err, if there is one.
func atPath(path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", path, err)
}

func trimNewline(text string) string { return strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r") }
