package trajectory

import (
	"strings"
	"testing"
)

// Files that other programs write: with a byte order mark, with 40.0 for 40, with NaN.
func TestWhatOtherProgramsWriteIsReadOrRefusedAndNeverReplaced(t *testing.T) {
	const steps = `"trajectory_steps": [{"token_usage_prompt": 10.0, "token_usage_completion": 5e0}], "max_steps": 40.0}`
	got := read(t, "\ufeff"+`{"problem_statement": "p", `+steps)
	if len(got) != 1 || got[0].MaxSteps != 40 || got[0].Steps[0].PromptTokens != 10 || got[0].Steps[0].CompletionTokens != 5 {
		t.Errorf("%+v", got)
	}
	fine := `{"problem_statement": "p"}` + "\n"
	for line, want := range map[string]string{
		`{"problem_statement": "p", "score": NaN}`:                                          "line 2: score: expected a number or null, found NaN",
		`{"problem_statement": "p", "reward":-Infinity}`:                                    "line 2: reward: expected a number or null, found -Infinity",
		`{"problem_statement": "{\"a\": NaN, \"b\": NaN`:                                    "line 2: expected one JSON object: unexpected end",
		`{"problem_statement": "p", "max_steps": 40.5}`:                                     "line 2: max_steps: expected a whole number, found number",
		`{"problem_statement": "p", "max_steps": "40"}`:                                     "line 2: max_steps: expected a whole number, found string",
		`{"problem_statement": "p", "max_steps": 1e300}`:                                    "line 2: max_steps: expected a whole number, found number",
		`{"problem_statement": "p", "max_steps": 0}`:                                        "line 2: max_steps: expected at least 1, or null if unknown, found 0",
		`{"problem_statement": "p", "trajectory_steps":[{"token_usage_prompt":{}}]}`:        "line 2: trajectory_steps.token_usage_prompt: expected a whole number, found object",
		`{"problem_statement": "p", "trajectory_steps":[{},{"token_usage_completion":-7}]}`: "line 2: token_usage of step 1: expected at least 0",
		"\ufeff" + fine: "line 2: expected one JSON object",
	} {
		if _, err := Read(strings.NewReader(fine+line), "t"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
}

func TestATraceOfAnotherProgramIsReadOrRefused(t *testing.T) {
	all, err := readTrace(strings.NewReader("\ufeff"+`{"timestamp": 0, "input_length": 600.0, "output_length": 5.0, "hash_ids": [0, 1]}`), "t", 9)
	if err != nil || len(all) != 1 || all[0].InputTokens != 600 || len(all[0].Blocks) != 2 {
		t.Errorf("%+v, %v", all, err)
	}
	line := func(at string) string { return `{"timestamp": ` + at + `, "input_length": 60, "hash_ids": [0]}` + "\n" }
	for text, want := range map[string]string{
		`{"timestamp": 0, "input_length": 600, "hash_ids": [-1, 1]}`:        "t: line 1: hash_ids: expected whole numbers of at least 0, found number",
		`{"timestamp": 0, "input_length": 600, "hash_ids": ["a", "b"]}`:     "t: line 1: hash_ids: expected whole numbers of at least 0, found string",
		`{"timestamp": NaN, "input_length": 600}`:                           "t: line 1: timestamp: expected a number or null, found NaN",
		line("0.0") + line("0.2") + line("0.4") + line("0.6") + line("0.8"): "t: line 2: timestamp: expected milliseconds; 5 requests within 0.8 ms look like seconds",
	} {
		if _, err := readTrace(strings.NewReader(text), "t", 9); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
	for _, text := range []string{line("0.5") + line("1.5") + line("2.5"), line("7") + line("7") + line("8"), line("0.5") + line("0.5") + line("0.5")} {
		if _, err := readTrace(strings.NewReader(text), "t", 9); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}
