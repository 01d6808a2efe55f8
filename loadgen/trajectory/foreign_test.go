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
		`{"problem_statement": "p", "score": NaN}`:                                          "score: expected a number or null, found NaN",
		`{"problem_statement": "p", "reward":-Infinity}`:                                    "reward: expected a number or null, found -Infinity",
		`{"problem_statement": "{\"a\": NaN, \"b\": NaN`:                                    "expected one JSON object: unexpected end",
		`{"problem_statement": "p", "max_steps": 40.5}`:                                     "max_steps: expected a whole number, found number",
		`{"problem_statement": "p", "max_steps": "40"}`:                                     "max_steps: expected a whole number, found string",
		`{"problem_statement": "p", "max_steps": 1e300}`:                                    "max_steps: expected a whole number, found number",
		`{"problem_statement": "p", "max_steps": 0}`:                                        "max_steps: expected at least 1, or null",
		`{"problem_statement": "p", "trajectory_steps":[{"token_usage_prompt":{}}]}`:        "trajectory_steps.token_usage_prompt: expected",
		`{"problem_statement": "p", "trajectory_steps":[{},{"token_usage_completion":-7}]}`: "token_usage of step 1: expected at least 0",
		"\ufeff" + fine: "expected one JSON object",
	} {
		if _, err := Read(strings.NewReader(fine+line), "t"); err == nil || !strings.Contains(err.Error(), "line 2: "+want) {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
}

func TestATraceOfAnotherProgramIsReadOrRefused(t *testing.T) {
	text := "\ufeff" + `{"timestamp": 0, "input_length": 600.0, "output_length": 5.0, "hash_ids": [0, 1]}`
	all, err := readTrace(strings.NewReader(text), "t", 9)
	if err != nil || len(all) != 1 || all[0].InputTokens != 600 || len(all[0].Blocks) != 2 {
		t.Errorf("%+v, %v", all, err)
	}
	line := func(at string) string { return `{"timestamp": ` + at + `, "input_length": 60, "hash_ids": [0]}` + "\n" }
	for text, want := range map[string]string{
		`{"timestamp": 0, "input_length": 600, "hash_ids": [-1, 1]}`:        "1: hash_ids: expected whole numbers of at least 0, found number",
		`{"timestamp": 0, "input_length": 600, "hash_ids": ["a", "b"]}`:     "1: hash_ids: expected whole numbers of at least 0, found string",
		`{"timestamp": NaN, "input_length": 600}`:                           "1: timestamp: expected a number or null, found NaN",
		line("0.0") + line("0.2") + line("0.4") + line("0.6") + line("0.8"): "2: timestamp: expected milliseconds; 5 requests within 0.8 ms",
	} {
		if _, err := readTrace(strings.NewReader(text), "t", 9); err == nil || !strings.HasPrefix(err.Error(), "t: line "+want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
	for _, text := range []string{
		line("0.5") + line("1.5") + line("2.5"), line("7") + line("7") + line("8"), line("0.5") + line("0.5") + line("0.5"),
	} {
		if _, err := readTrace(strings.NewReader(text), "t", 9); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}
