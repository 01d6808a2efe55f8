package trajectory

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unique"
)

// row names the fields that are wanted of one line, whether it is an R2E-Gym
// trajectory or a problem of a data set. The decoder skips all others without
// keeping their bytes: a row of 2.7 MB is mostly parsed commits and test
// output.
type row struct {
	Problem string `json:"problem_statement"`

	dataset            // of a problem
	DS         dataset `json:"ds"`
	EnvArgs    envArgs `json:"env_args"`
	Image      string  `json:"docker_image"`
	AgentArgs  prompts `json:"agent_args"`
	MaxSteps   int     `json:"max_steps"`
	ExitReason string  `json:"exit_reason"`

	Reward *float64  `json:"reward"`
	Steps  []stepRow `json:"trajectory_steps"`
}

// envArgs also holds the data set's row in files whose own ds is null.
type envArgs struct {
	DS dataset `json:"ds"`
}

// dataset is what identifies a problem, in SWE-bench's and in R2E's words.
type dataset struct {
	InstanceID string `json:"instance_id"`
	Repo       string `json:"repo"`
	BaseCommit string `json:"base_commit"`
	RepoName   string `json:"repo_name"`
	CommitHash string `json:"commit_hash"`
}

type prompts struct {
	System   string `json:"system_prompt"`
	Instance string `json:"instance_prompt"`
}

type stepRow struct {
	Thought          string  `json:"thought"`
	Action           string  `json:"action"`
	Observation      string  `json:"observation"`
	EnvExecSeconds   float64 `json:"env_exec_time"`
	LLMExecSeconds   float64 `json:"llm_exec_time"`
	PromptTokens     *int    `json:"token_usage_prompt"`
	CompletionTokens *int    `json:"token_usage_completion"`
}

var errNoProblem = errors.New("problem_statement is missing or empty; expected the text of the problem")

// decode reads one line. Its ID may be empty and need not be unique.
func decode(line []byte) (Trajectory, error) {
	var r row
	if err := json.Unmarshal(line, &r); err != nil {
		return Trajectory{}, explain(err)
	}
	if strings.TrimSpace(r.Problem) == "" {
		return Trajectory{}, errNoProblem
	}
	t := Trajectory{
		ID:      r.id(),
		Problem: r.Problem,
		// The prompts of a file are all alike: keep one copy.
		SystemPrompt:   unique.Make(r.AgentArgs.System).Value(),
		InstancePrompt: unique.Make(r.AgentArgs.Instance).Value(),
		MaxSteps:       r.MaxSteps,
		ExitReason:     r.ExitReason,
		Reward:         r.Reward,
	}
	if t.MaxSteps <= 0 {
		t.MaxSteps = DefaultMaxSteps
	}
	for _, s := range r.Steps {
		t.Steps = append(t.Steps, s.step())
	}
	return t, nil
}

func (s stepRow) step() Step {
	return Step{
		Thought:          s.Thought,
		Action:           s.Action,
		Observation:      s.Observation,
		EnvExecSeconds:   s.EnvExecSeconds,
		LLMExecSeconds:   s.LLMExecSeconds,
		PromptTokens:     known(s.PromptTokens),
		CompletionTokens: known(s.CompletionTokens),
	}
}

func known(tokens *int) int {
	if tokens == nil {
		return -1
	}
	return *tokens
}

// id is the first name that the row offers: the data set's instance, its
// repository and commit, the container image.
func (r row) id() string {
	sources := []dataset{r.DS, r.EnvArgs.DS, r.dataset}
	for _, d := range sources {
		if d.InstanceID != "" {
			return d.InstanceID
		}
	}
	for _, d := range sources {
		if d.Repo != "" && d.BaseCommit != "" {
			return d.Repo + "@" + d.BaseCommit
		}
		if d.RepoName != "" && d.CommitHash != "" {
			return d.RepoName + "@" + d.CommitHash
		}
	}
	return r.Image
}

// explain says what was expected, in JSON's words and without the line's text.
func explain(err error) error {
	var wrong *json.UnmarshalTypeError
	switch {
	case !errors.As(err, &wrong):
		return fmt.Errorf("expected one JSON object: %w", err)
	case wrong.Field == "":
		return fmt.Errorf("expected one JSON object, found %s", jsonType(wrong.Value))
	}
	return fmt.Errorf("%s: expected %s, found %s", wrong.Field, jsonKind(wrong.Type.Kind().String()), jsonType(wrong.Value))
}

// jsonType drops the literal that encoding/json reports with a number.
func jsonType(value string) string {
	kind, _, _ := strings.Cut(value, " ")
	return kind
}

func jsonKind(goKind string) string {
	switch goKind {
	case "string":
		return "a string"
	case "int":
		return "a whole number"
	case "float64":
		return "a number"
	case "slice":
		return "an array"
	default:
		return "an object"
	}
}
