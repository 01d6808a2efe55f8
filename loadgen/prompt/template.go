package prompt

import (
	"fmt"
	"strconv"
	"strings"
)

// Placeholder is where a Template's instance text takes the problem statement.
const Placeholder = "{problem_statement}"

// Template holds the two texts that open every trajectory. The zero value is
// of no use; take one from Default or Load.
type Template struct {
	System   string // the system message, sent as it is
	Instance string // the first user message; holds Placeholder exactly once

	systemGiven   bool // System came from a file the user named
	instanceGiven bool // so did Instance
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

// FirstTurn returns the messages of a trajectory's first request: the system
// text and the instance text around problem. What is left of the step budget
// is appended to the last message, see WithStepsRemaining. The placeholder is
// the only thing replaced; braces elsewhere, and in problem, stay as they are.
func (t Template) FirstTurn(problem string, stepsRemaining int) []Message {
	return WithStepsRemaining([]Message{
		{Role: RoleSystem, Content: t.System},
		{Role: RoleUser, Content: strings.Replace(t.Instance, Placeholder, problem, 1)},
	}, stepsRemaining)
}

// Exchange is what one step of an agent adds to its conversation.
type Exchange struct {
	Thought, Action string // what the model wrote: before its call, and the call
	Observation     string // what came back
}

// Turn returns the messages of a trajectory's request after the exchanges before it:
// the first turn, and for each of them the model's words and what came back. Each
// request told the model what was left of maxSteps, and those notes stay. It is what
// R2E-Gym sends, message by message.
func (t Template) Turn(problem string, before []Exchange, maxSteps int) []Message {
	history := t.FirstTurn(problem, maxSteps)
	for i, e := range before {
		history = WithStepsRemaining(append(history,
			Message{Role: RoleAssistant, Content: e.Thought + "\n\n" + e.Action},
			Message{Role: RoleUser, Content: e.Observation},
		), maxSteps-i-1)
	}
	return history
}

// WithStepsRemaining applies R2E-Gym's rule (agent.py) to a history that is
// about to be sent: the last message tells the model how many steps it has
// left, or, at 0 and below, to submit at once. It changes that message in
// place, because the note stays in the history of later turns, and returns
// history. The wording is R2E-Gym's; with it, replayed prompts have exactly
// the token counts that real trajectories recorded.
func WithStepsRemaining(history []Message, remaining int) []Message {
	note := "You have reached the maximum number of steps. Please submit your answer NOW."
	if remaining > 0 {
		note = "Steps Remaining: " + strconv.Itoa(remaining)
	}
	if len(history) > 0 {
		history[len(history)-1].Content += "\n" + note
	}
	return history
}

// For returns the template to use for a trajectory that recorded its
// own prompts (R2E-Gym's agent_args; empty where it did not). For each of the
// two texts the order is: the file the user named, then the trajectory's own,
// then t's. It fails if the trajectory's instance text is the one to use and
// does not hold Placeholder exactly once.
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
