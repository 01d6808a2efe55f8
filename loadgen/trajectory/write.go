package trajectory

import (
	"encoding/json"
	"fmt"
	"io"
)

// Write writes trajectories as R2E-Gym does, a JSON object a line, so that Read and
// R2E-Gym's own tools read them. The same trajectories give the same bytes. What is
// unknown is left out, and so is what Read does not keep.
func Write(w io.Writer, all []Trajectory) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for _, t := range all {
		if err := e.Encode(t.written()); err != nil {
			return fmt.Errorf("trajectory %s: %w", t.ID, err)
		}
	}
	return nil
}

// writtenRow is a line of what Write writes, in R2E-Gym's names and order.
type writtenRow struct {
	Steps      []writtenStep `json:"trajectory_steps"`
	Problem    string        `json:"problem_statement"`
	AgentArgs  *prompts      `json:"agent_args,omitempty"`
	DS         writtenID     `json:"ds"`
	MaxSteps   int           `json:"max_steps"`
	ExitReason string        `json:"exit_reason"`
	Reward     *float64      `json:"reward"`
}

type writtenID struct {
	InstanceID string `json:"instance_id"`
}

type writtenStep struct {
	Index            int     `json:"step_idx"`
	Thought          string  `json:"thought"`
	Action           string  `json:"action"`
	Observation      string  `json:"observation"`
	Done             bool    `json:"done"`
	PromptTokens     int     `json:"token_usage_prompt"` // -1: unknown, as R2E-Gym writes it
	CompletionTokens int     `json:"token_usage_completion"`
	LLMExecSeconds   float64 `json:"llm_exec_time"`
	EnvExecSeconds   float64 `json:"env_exec_time"`
	Count            int     `json:"step_count"`
}

func (t Trajectory) written() writtenRow {
	row := writtenRow{
		Steps: make([]writtenStep, len(t.Steps)), Problem: t.Problem, DS: writtenID{t.ID},
		MaxSteps: t.MaxSteps, ExitReason: t.ExitReason, Reward: t.Reward,
	}
	if t.SystemPrompt != "" || t.InstancePrompt != "" {
		row.AgentArgs = &prompts{t.SystemPrompt, t.InstancePrompt}
	}
	for i, s := range t.Steps {
		row.Steps[i] = writtenStep{
			Index: i, Thought: s.Thought, Action: s.Action, Observation: s.Observation, Done: i == len(t.Steps)-1,
			PromptTokens: s.PromptTokens, CompletionTokens: s.CompletionTokens,
			LLMExecSeconds: s.LLMExecSeconds, EnvExecSeconds: s.EnvExecSeconds, Count: i + 1,
		}
	}
	return row
}
