package trajectory

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unique"
)

// maxLineBytes bounds one line. R2E-Gym's rows reach 2.7 MB. The bound keeps a file without line ends
// from filling the memory.
const maxLineBytes = 256 << 20

// row is a line of a file: an R2E-Gym trajectory or a problem of a data set. The decoder skips all other
// fields, which are most of a row: parsed commits and test output.
type row struct {
	Steps     []stepRow `json:"trajectory_steps"`
	Problem   string    `json:"problem_statement"`
	AgentArgs *struct {
		System   string `json:"system_prompt"`
		Instance string `json:"instance_prompt"`
	} `json:"agent_args"`

	dataset         // of a problem
	DS      dataset `json:"ds"`
	EnvArgs struct {
		DS dataset `json:"ds"` // used by files whose own ds is null
	} `json:"env_args"`
	Image string `json:"docker_image"`

	MaxSteps   *whole   `json:"max_steps"`
	ExitReason string   `json:"exit_reason"`
	Reward     *float64 `json:"reward"`
}

// dataset identifies a problem, with the fields of SWE-bench and of R2E.
type dataset struct {
	InstanceID string `json:"instance_id"`
	Repo       string `json:"repo"`
	BaseCommit string `json:"base_commit"`
	RepoName   string `json:"repo_name"`
	CommitHash string `json:"commit_hash"`
}

type stepRow struct {
	Thought          string  `json:"thought"`
	Action           string  `json:"action"`
	Observation      string  `json:"observation"`
	PromptTokens     *whole  `json:"token_usage_prompt"` // -1 or null: unknown
	CompletionTokens *whole  `json:"token_usage_completion"`
	LLMExecSeconds   float64 `json:"llm_exec_time"`
	EnvExecSeconds   float64 `json:"env_exec_time"`
}

// whole is a whole number. It may be written with a fraction of 0, as pandas and others write it: 40.0.
type whole int

// UnmarshalJSON implements json.Unmarshaler.
func (w *whole) UnmarshalJSON(text []byte) error {
	const maxExact = 1 << 53
	v, err := strconv.ParseFloat(string(text), 64)
	if err != nil || v != math.Trunc(v) || math.Abs(v) > maxExact {
		value := "number"
		if err != nil {
			value = kindOf(text)
		}
		return &json.UnmarshalTypeError{Value: value, Type: reflect.TypeFor[int]()} // the decoder adds the field
	}
	*w = whole(v)
	return nil
}

// kindOf names what a JSON value is.
func kindOf(value []byte) string {
	switch value[0] {
	case '"':
		return "string"
	case '{':
		return "object"
	case '[':
		return "array"
	case 't', 'f':
		return "bool"
	}
	return "number"
}

// ReadFile reads R2E-Gym trajectories from a file of JSON lines; see Read.
func ReadFile(path string) ([]Trajectory, error) { return readFile(path, Read) }

func readFile[T any](path string, read func(r io.Reader, name string) ([]T, error)) ([]T, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err // names the path already
	}
	defer f.Close() //nolint:errcheck // only read
	return read(f, path)
}

// ReadProblems reads problem statements from a file of JSON lines {instance_id, repo,
// problem_statement}. Its trajectories have no steps, even if the lines hold some. Errors are as in
// Read.
func ReadProblems(path string) ([]Trajectory, error) {
	problems, err := ReadFile(path)
	for i := range problems {
		problems[i].Steps = nil
	}
	return problems, err
}

// Read reads one trajectory per line. It skips blank lines, ignores unknown fields, and leaves absent
// and null fields empty, except problem_statement, which is required. It stops at the first bad line; an
// input without trajectories is an error, too. Errors hold name, the line number and what was expected.
//
// Trajectories of the same problem get "#2", "#3", … added to their IDs.
func Read(r io.Reader, name string) ([]Trajectory, error) {
	var all []Trajectory
	ids := identities{}
	err := eachLine(r, name, func(number int, line []byte) error {
		t, err := decode(line)
		if err != nil {
			return err
		}
		if t.ID == "" {
			t.ID = "line-" + strconv.Itoa(number)
		}
		t.ID = ids.reserve(t.ID)
		all = append(all, t)
		return nil
	})
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("%s: no trajectories: expected one JSON object a line", name)
	}
	if err != nil {
		return nil, err
	}
	return all, nil
}

// errEnough ends eachLine without an error.
var errEnough = errors.New("enough lines")

// eachLine calls f with each line that is not blank and its number, from 1. It skips a byte order mark.
// Errors hold name and the line number.
func eachLine(r io.Reader, name string, f func(number int, line []byte) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLineBytes)
	number := 0
	for lines.Scan() {
		number++
		line := lines.Bytes()
		if number == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		switch err := f(number, line); {
		case errors.Is(err, errEnough):
			return nil
		case err != nil:
			return fmt.Errorf("%s: line %d: %w", name, number, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: line %d: %w", name, number+1, err)
	}
	return nil
}

// identities counts how often each ID was reserved.
type identities map[string]int

// reserve returns an unused ID derived from id.
func (ids identities) reserve(id string) string {
	free := id
	for ids[free] > 0 {
		ids[id]++
		free = id + "#" + strconv.Itoa(ids[id])
	}
	ids[free]++
	return free
}

// decode reads one line. The ID may be empty and need not be unique.
func decode(line []byte) (Trajectory, error) {
	var r row
	if err := json.Unmarshal(line, &r); err != nil {
		return Trajectory{}, explain(err, line)
	}
	if strings.TrimSpace(r.Problem) == "" {
		return Trajectory{}, errors.New("problem_statement is missing or empty; expected the text of the problem")
	}
	t := Trajectory{ID: r.id(), Problem: r.Problem, MaxSteps: DefaultMaxSteps, ExitReason: r.ExitReason, Reward: r.Reward}
	if r.AgentArgs != nil { // the prompts of a file are all alike: keep one copy
		t.SystemPrompt = unique.Make(r.AgentArgs.System).Value()
		t.InstancePrompt = unique.Make(r.AgentArgs.Instance).Value()
	}
	if r.MaxSteps != nil {
		if t.MaxSteps = int(*r.MaxSteps); t.MaxSteps < 1 {
			return Trajectory{}, fmt.Errorf("max_steps: expected at least 1, or null if unknown, found %d", t.MaxSteps)
		}
	}
	known := func(tokens *whole) int {
		if tokens == nil {
			return -1
		}
		return int(*tokens)
	}
	for i, s := range r.Steps {
		if tokens := min(known(s.PromptTokens), known(s.CompletionTokens)); tokens < -1 {
			return Trajectory{}, fmt.Errorf("token_usage of step %d: expected at least 0, or -1 if unknown, found %d", i, tokens)
		}
		t.Steps = append(t.Steps, Step{
			Thought: s.Thought, Action: s.Action, Observation: s.Observation,
			EnvExecSeconds: s.EnvExecSeconds, LLMExecSeconds: s.LLMExecSeconds,
			PromptTokens: known(s.PromptTokens), CompletionTokens: known(s.CompletionTokens),
		})
	}
	return t, nil
}

// id returns the first of these names that the row has: the instance of the data set, its repository and
// commit, or the container image.
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

// noNumber matches what Python writes for a float that JSON does not have, and its field. In a text, the
// quotes around the field are escaped.
var noNumber = regexp.MustCompile(`[{,]\s*"([A-Za-z0-9_.-]{1,100})"\s*:\s*(NaN|-?Infinity)\b`)

// explain says what was expected, in JSON's terms and without the text of the line.
func explain(err error, line []byte) error {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		if m := noNumber.FindSubmatch(line); m != nil {
			return fmt.Errorf("%s: expected a number or null, found %s", m[1], m[2])
		}
		return fmt.Errorf("expected one JSON object: %w", err)
	}
	found, _, _ := strings.Cut(wrong.Value, " ") // encoding/json adds the literal of a number
	if wrong.Field == "" {
		return fmt.Errorf("expected one JSON object, found %s", found)
	}
	expected, ok := map[string]string{
		"string": "a string", "int": "a whole number", "uint64": "whole numbers of at least 0", "float64": "a number", "slice": "an array",
	}[wrong.Type.Kind().String()]
	if !ok {
		expected = "an object"
	}
	return fmt.Errorf("%s: expected %s, found %s", wrong.Field, expected, found)
}
