package trajectory

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func read(t *testing.T, text string) []Trajectory {
	t.Helper()
	got, err := Read(strings.NewReader(text), "in.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestReadTakesTheFieldsOfAnR2EGymRow(t *testing.T) {
	got := read(t,
		`{"trajectory_steps":[{"step_idx":0,"thought":"th","action":"ac","observation":"ob","done":false,"info":{"total_time":0.5},`+
			`"token_usage_prompt":2680,"token_usage_completion":396,"token_usage_total":3076,"llm_exec_time":2.5,"env_exec_time":0.5}],`+
			`"problem_statement":"it breaks","docker_image":"image:1",`+
			`"agent_args":{"system_prompt":"sys","instance_prompt":"ins","command_files":[]},`+
			`"ds":{"instance_id":"a__b-1","patch":"x"},"max_steps":40,"exit_reason":"agent","reward":1.0,"history":[{"role":"user"}]}`)
	reward := 1.0
	want := []Trajectory{{
		ID: "a__b-1", Problem: "it breaks", SystemPrompt: "sys", InstancePrompt: "ins",
		MaxSteps: 40, ExitReason: "agent", Reward: &reward,
		Steps: []Step{{
			Thought: "th", Action: "ac", Observation: "ob",
			EnvExecSeconds: 0.5, LLMExecSeconds: 2.5, PromptTokens: 2680, CompletionTokens: 396,
		}},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAbsentAndNullFieldsAreTolerated(t *testing.T) {
	want := []Trajectory{{ID: "line-1", Problem: "p", MaxSteps: DefaultMaxSteps, Steps: []Step{{PromptTokens: -1, CompletionTokens: -1}}}}
	for _, line := range []string{
		`{"problem_statement":"p","trajectory_steps":[{}]}`,
		`{"problem_statement":"p","trajectory_steps":[null],"docker_image":null,"agent_args":null,"ds":null,` +
			`"env_args":null,"max_steps":null,"exit_reason":null,"reward":null}`,
		`{"problem_statement":"p","trajectory_steps":[{"thought":null,"env_exec_time":null,"token_usage_prompt":null}],` +
			`"env_args":{"ds":null},"agent_args":{"system_prompt":null}}`,
	} {
		if diff := cmp.Diff(want, read(t, line)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", line, diff)
		}
	}
}

func TestIDIsTheBestNameThatTheRowOffers(t *testing.T) {
	for row, want := range map[string]string{
		`"ds":{"instance_id":"i","repo":"r","base_commit":"c"},"docker_image":"d"`: "i",
		`"env_args":{"ds":{"instance_id":"e"}},"docker_image":"d"`:                 "e",
		`"instance_id":"top","repo":"r"`:                                           "top",
		`"ds":{"repo":"r","base_commit":"c"},"docker_image":"d"`:                   "r@c",
		`"ds":{"repo_name":"n","commit_hash":"h"},"docker_image":"d"`:              "n@h",
		`"env_args":{"ds":{"repo_name":"n","commit_hash":"h"}},"docker_image":"d"`: "n@h",
		`"ds":{"repo":"r"},"docker_image":"d"`:                                     "d",
		`"exp_name":"x"`:                                                           "line-1",
	} {
		if got := read(t, `{"problem_statement":"p",`+row+`}`)[0].ID; got != want {
			t.Errorf("%s: ID %q, want %q", row, got, want)
		}
	}
}

func TestIDsAreUnique(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := identities{}
		seen := map[string]bool{}
		for _, id := range rapid.SliceOf(rapid.SampledFrom([]string{"a", "a#2", "a#2#2", "a#3", "b"})).Draw(t, "ids") {
			unique := ids.reserve(id)
			if seen[unique] || !strings.HasPrefix(unique, id) {
				t.Fatalf("%q became %q; seen: %v", id, unique, seen)
			}
			seen[unique] = true
		}
	})
}

func TestRepeatedInstancesAreNumbered(t *testing.T) {
	line := `{"instance_id":"a","problem_statement":"p"}` + "\n"
	var got []string
	for _, tr := range read(t, line+line+line) {
		got = append(got, tr.ID)
	}
	if diff := cmp.Diff([]string{"a", "a#2", "a#3"}, got); diff != "" {
		t.Errorf("IDs (-want +got):\n%s", diff)
	}
}

func TestBlankLinesAndForeignLineEndsAreSkipped(t *testing.T) {
	got := read(t, "\n  \r\n{\"problem_statement\":\"p\"}\r\n\n{\"problem_statement\":\"q\"}")
	if len(got) != 2 || got[0].ID != "line-3" || got[1].ID != "line-5" {
		t.Errorf("got %+v", got)
	}
}

func TestBrokenLineIsNamedWithWhatWasExpected(t *testing.T) {
	fine := `{"problem_statement":"p"}` + "\n"
	for _, c := range []struct {
		name, text string
		want       string
	}{
		{"truncated", fine + "\n" + `{"problem_statement":"secret`, "in.jsonl: line 3: expected one JSON object: unexpected end of JSON input"},
		{"not JSON", "hello", "in.jsonl: line 1: expected one JSON object: invalid character 'h'"},
		{"two objects", `{"problem_statement":"p"} {}`, "line 1: expected one JSON object"},
		{"array", `[1]`, "line 1: expected one JSON object, found array"},
		{"number", `12`, "line 1: expected one JSON object, found number"},
		{"null", `null`, "line 1: problem_statement is missing or empty"},
		{"no problem", fine + `{"docker_image":"secret"}`, "in.jsonl: line 2: problem_statement is missing or empty; expected"},
		{"blank problem", `{"problem_statement":" \n"}`, "line 1: problem_statement is missing or empty"},
		{"problem of another type", `{"problem_statement":["secret"]}`, "problem_statement: expected a string, found array"},
		{
			"step of another type", `{"problem_statement":"p","trajectory_steps":[{"env_exec_time":"secret"}]}`,
			"line 1: trajectory_steps.env_exec_time: expected a number, found string",
		},
		{"steps not an array", `{"problem_statement":"p","trajectory_steps":{}}`, "trajectory_steps: expected an array, found object"},
		{
			"tokens not whole", `{"problem_statement":"p","trajectory_steps":[{"token_usage_prompt":1.5}]}`,
			"trajectory_steps.token_usage_prompt: expected a whole number, found number",
		},
		{"prompts not an object", `{"problem_statement":"p","agent_args":"secret"}`, "agent_args: expected an object, found string"},
		{"empty file", "", "in.jsonl: no trajectories: expected one JSON object a line"},
		{"only blank lines", "\n\n", "in.jsonl: no trajectories"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Read(strings.NewReader(c.text), "in.jsonl")
			if err == nil {
				t.Fatalf("no error, got %+v", got)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q, want %q", err, c.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("error %q holds the line's text", err)
			}
		})
	}
}

func TestMissingFileIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "absent.jsonl")
	for _, read := range []func(string) ([]Trajectory, error){ReadFile, ReadProblems} {
		if _, err := read(path); !os.IsNotExist(err) || !strings.Contains(err.Error(), "absent.jsonl") {
			t.Errorf("error %v", err)
		}
	}
}

func TestReadProblemsLeavesStepsOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "problems.jsonl")
	text := `{"instance_id":"a__b-1","repo":"a/b","problem_statement":"p","trajectory_steps":[{}]}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := ReadProblems(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Trajectory{{ID: "a__b-1", Problem: "p", MaxSteps: DefaultMaxSteps}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRowsOfSeveralMegabytesAreReadWithoutKeepingTheirUnusedBytes(t *testing.T) {
	const rows, unused = 6, 4 << 20
	path := filepath.Join(t.TempDir(), "big.jsonl")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	ballast := strings.Repeat("x", unused)
	for i := range rows {
		fmt.Fprintf(f, `{"problem_statement":"p%d","test_output":"%s"}`+"\n", i, ballast)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	before := heapBytes()
	got, err := ReadFile(path)
	if err != nil || len(got) != rows {
		t.Fatalf("%d rows, %v", len(got), err)
	}
	if held := heapBytes() - before; held > unused {
		t.Errorf("%d rows hold %d bytes", rows, held)
	}
	runtime.KeepAlive(got)
	runtime.KeepAlive(ballast)
}

func heapBytes() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func FuzzRead(f *testing.F) {
	f.Add(`{"problem_statement":"p","trajectory_steps":[{"thought":"t","env_exec_time":1e3}],"ds":{"instance_id":"i"}}`)
	f.Add("{\"problem_statement\":\"p\"}\n\n{\"problem_statement\":\"q\",\"reward\":null}\r\n")
	f.Add(`{"problem_statement":["p"]}`)
	f.Add(`{"trajectory_steps":[`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Read(strings.NewReader(text), "in")
		if (err == nil) != (len(got) > 0) {
			t.Fatalf("%d trajectories and error %v", len(got), err)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "in: ") {
			t.Fatalf("error %q does not name the file", err)
		}
		seen := map[string]bool{}
		for _, tr := range got {
			if strings.TrimSpace(tr.Problem) == "" || tr.MaxSteps <= 0 || tr.ID == "" || seen[tr.ID] {
				t.Fatalf("got %+v", tr)
			}
			seen[tr.ID] = true
		}
	})
}
