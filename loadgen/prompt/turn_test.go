package prompt_test

import (
	"os"
	"strings"
	"testing"

	"paceline/loadgen/prompt"
	"paceline/loadgen/trajectory"
	"paceline/tokenizer"
)

func step(thought, action, observation string) trajectory.Step {
	return trajectory.Step{Thought: thought, Action: action, Observation: observation}
}

func TestATurnHoldsAllBeforeItWithTheirNotes(t *testing.T) {
	template := prompt.Template{System: "S", Instance: "solve {problem_statement}"}
	steps := []trajectory.Step{step("think", "<function=a></function>", "seen"), step("more", "<function=b></function>", "done")}
	got := prompt.Render(prompt.Qwen25, template.Turn("P", steps, 2))
	want := "<|im_start|>system\nS<|im_end|>\n" +
		"<|im_start|>user\nsolve P\nSteps Remaining: 2<|im_end|>\n" +
		"<|im_start|>assistant\nthink\n\n<function=a></function><|im_end|>\n" +
		"<|im_start|>user\nseen\nSteps Remaining: 1<|im_end|>\n" +
		"<|im_start|>assistant\nmore\n\n<function=b></function><|im_end|>\n" +
		"<|im_start|>user\ndone\nYou have reached the maximum number of steps. Please submit your answer NOW.<|im_end|>\n" +
		"<|im_start|>assistant\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestEachTurnBeginsWithTheOneBefore(t *testing.T) {
	template := prompt.Template{System: "S", Instance: "{problem_statement}"}
	all := []trajectory.Step{step("a", "b", "c"), step("d", "e", "f"), step("g", "h", "i")}
	before := ""
	for n := range len(all) + 1 {
		text := strings.TrimSuffix(prompt.Render(prompt.Qwen25, template.Turn("P", all[:n], 50)), "<|im_start|>assistant\n")
		if !strings.HasPrefix(text, before) {
			t.Errorf("turn %d does not continue the one before", n)
		}
		before = text
	}
}

func TestQwen3LeavesOutWhatEarlierAnswersThought(t *testing.T) {
	got := prompt.Render(prompt.Qwen3, []prompt.Message{
		{Role: prompt.RoleUser, Content: "q"},
		{Role: prompt.RoleAssistant, Content: "<think>\nhm </think> </think>\n\n<function=a>"},
		{Role: prompt.RoleUser, Content: "<think>kept</think>"},
	})
	want := "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n<function=a><|im_end|>\n" +
		"<|im_start|>user\n<think>kept</think><|im_end|>\n<|im_start|>assistant\n"
	if got != want {
		t.Errorf("got %q", got)
	}
}

func TestTemplatesHaveNames(t *testing.T) {
	for _, name := range []string{"qwen2.5", "qwen3", "plain"} {
		if ct, err := prompt.FindChatTemplate(name); err != nil || ct.String() != name {
			t.Errorf("%s: %v, %v", name, ct, err)
		}
	}
	if _, err := prompt.FindChatTemplate("llama"); err == nil || !strings.Contains(err.Error(), "qwen2.5, qwen3 or plain") {
		t.Error(err)
	}
}

// The trajectories are a run of Qwen3-32B, whose server counted each prompt.
func TestReferenceTokenCountsOfRealTrajectoriesAreThoseThatTheirServerCounted(t *testing.T) {
	const data = "../../../shared/data/r2egym_trajectories_15.jsonl"
	if _, err := os.Stat(data); err != nil {
		t.Skip("no real trajectories beside the checkout")
	}
	path := os.Getenv("PACELINE_TEST_TOKENIZER")
	if path == "" {
		t.Skip("PACELINE_TEST_TOKENIZER does not name a tokenizer.json of the Qwen family")
	}
	qwen, err := tokenizer.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	all, err := trajectory.ReadFile(data)
	if err != nil {
		t.Fatal(err)
	}
	steps, equal := 0, 0
	for _, tr := range all {
		template, err := prompt.Template{}.For(tr.SystemPrompt, tr.InstancePrompt)
		if err != nil {
			t.Fatal(err)
		}
		var before []trajectory.Step
		for i, s := range tr.Steps {
			if s.PromptTokens >= 0 {
				steps++
				text := prompt.Render(prompt.Qwen3, template.Turn(tr.Problem, before, tr.MaxSteps))
				if n := len(qwen.Encode(text)); n == s.PromptTokens {
					equal++
				} else {
					t.Errorf("%s, step %d: %d tokens, the server counted %d", tr.ID, i, n, s.PromptTokens)
				}
			}
			before = append(before, trajectory.Step{Thought: s.Thought, Action: s.Action, Observation: s.Observation})
		}
	}
	t.Logf("%d of %d steps have the tokens that the server counted", equal, steps)
	if steps < 300 {
		t.Errorf("only %d steps", steps)
	}
}
