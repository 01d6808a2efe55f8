package load

import (
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"paceline/loadgen/journal"
	"paceline/loadgen/prompt"
	"paceline/loadgen/trajectory"
)

func TestTurnsHoldTheExactHistoryAndShareIt(t *testing.T) {
	for _, chat := range []string{"qwen2.5", "qwen3", "plain"} {
		o := Options{Count: 3, Seed: 1, Turns: 0, Rollouts: 2, EnvScale: 0.5, ChatTemplate: chat}
		l, err := Read(o)
		if err != nil {
			t.Fatal(err)
		}
		all := trajectory.Generate(3, 1)
		format, err := prompt.FindChatTemplate(chat)
		if err != nil {
			t.Fatal(err)
		}
		template, err := prompt.Load("", "")
		if err != nil {
			t.Fatal(err)
		}
		i := 0
		for _, tr := range all {
			for copies := range 2 {
				var before []trajectory.Step
				for k, s := range tr.Steps {
					p := l.Prompts[i]
					if want := prompt.Render(format, template.Turn(tr.Problem, before, tr.MaxSteps)); p.Full() != want {
						t.Fatalf("%s: turn %d of %s is another text", chat, k, tr.ID)
					}
					if p.Follows != (k > 0) || (copies == 1) != strings.HasSuffix(p.ID, "#2") ||
						k > 0 && math.Abs(p.Pause.Seconds()-0.5*tr.Steps[k-1].EnvExecSeconds) > 1e-6 {
						t.Fatalf("turn %d: %s follows %v after %v", k, p.ID, p.Follows, p.Pause)
					}
					before = append(before, trajectory.Step{Thought: s.Thought, Action: s.Action, Observation: s.Observation})
					i++
				}
			}
		}
		if i != len(l.Prompts) || l.Source.Requests != i || l.Source.Count != 3 || l.Source.SharedBytes >= l.Source.PromptBytesTotal ||
			l.Source.SharedBytes < l.Source.PromptBytesTotal/2 {
			t.Errorf("%d prompts: %+v", i, l.Source)
		}
	}
}

func TestOfATrajectoryAsManyTurnsAreSentAsAsked(t *testing.T) {
	l, err := Read(Options{Count: 5, Seed: 1, Turns: 3, Rollouts: 1, ChatTemplate: "qwen2.5"})
	if err != nil || len(l.Prompts) != 15 || l.Prompts[1].Pause != 0 {
		t.Errorf("%d prompts, %v", len(l.Prompts), err)
	}
}

// The generated load is promised to stay the same bytes: a change makes results
// incomparable with earlier ones. The hashes are those of November 2026.
func TestGeneratedLoadsStayTheSameBytes(t *testing.T) {
	whole := Options{Count: 30, Seed: 1, Rollouts: 2, EnvScale: 1, ChatTemplate: "qwen3"}
	for _, c := range []struct {
		name          string
		o             Options
		prompts, hash string
	}{
		{"the default", Options{Count: 500, Seed: 1, Turns: 1, Rollouts: 1, EnvScale: 1, ChatTemplate: "qwen2.5"}, "500", "14ebf6d16ecaaca2"},
		{"whole conversations", whole, "2864", "078dde1508f1c775"},
	} {
		l, err := Read(c.o)
		if err != nil {
			t.Fatal(err)
		}
		if facts := journal.PromptFacts(l.Prompts); facts[0].Value != c.prompts || facts[1].Value != c.hash {
			t.Errorf("%s: %v, want %s prompts with the hash %s", c.name, facts, c.prompts, c.hash)
		}
	}
}

// What single prompts have in common is held once: 12 kB of text take little more than their problem.
func TestManyGeneratedPromptsTakeLittleMemory(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const n = 2000
	l, err := Read(Options{Count: n, Seed: 1, Turns: 1, Rollouts: 1, EnvScale: 1, ChatTemplate: "qwen2.5"})
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n
	if each > 3000 || l.Source.PromptBytesTotal/n < 10_000 {
		t.Errorf("%d bytes of memory for each prompt of %d bytes", each, l.Source.PromptBytesTotal/n)
	}
	t.Logf("%d bytes of memory for each prompt of %d bytes", each, l.Source.PromptBytesTotal/n)
}

func TestAPromptKnowsHowManyTokensItsTrajectoryRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.jsonl")
	const line = `{"problem_statement":"p","trajectory_steps":[{"token_usage_prompt":1234},{}]}`
	if err := os.WriteFile(path, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Read(Options{Count: 1, Trajectories: path, Turns: 2, Rollouts: 1, ChatTemplate: "qwen2.5"})
	if err != nil || l.Prompts[0].Recorded != 1234 || l.Prompts[1].Recorded != 0 || l.Source.File != path {
		t.Errorf("%+v, %v", l.Source, err)
	}
}

func TestAChatTemplateOfAFileIsUsedAndNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chat.txt")
	if err := os.WriteFile(path, []byte("user: \"U:{content}\\n\"\nassistant: \"A:{content}\\n\"\nask: \"A:\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Read(Options{Count: 1, Seed: 1, Turns: 2, Rollouts: 1, ChatTemplate: path})
	if err != nil {
		t.Fatal(err)
	}
	if p := l.Prompts[1]; !strings.HasPrefix(p.Text, "U:") || p.Tail != "A:" || !strings.HasPrefix(p.Text, l.Prompts[0].Text) {
		t.Errorf("%.40q…%q", p.Text, p.Tail)
	}
	if !strings.HasSuffix(l.Source.Template, "chat.txt's chat template") {
		t.Error(l.Source.Template)
	}
}
