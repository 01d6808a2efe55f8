package main

import (
	"math"
	"strings"
	"testing"

	"paceline/loadgen/prompt"
	"paceline/loadgen/trajectory"
)

func TestTurnsHoldTheExactHistoryAndShareIt(t *testing.T) {
	for _, chat := range []string{"qwen2.5", "qwen3", "plain"} {
		o := options{prompts: 3, seed: 1, turns: 0, rollouts: 2, envScale: 0.5, chatTemplate: chat}
		l, err := readLoad(o)
		if err != nil {
			t.Fatal(err)
		}
		all := trajectory.Generate(3, 1)
		template, err := prompt.Load("", "")
		if err != nil {
			t.Fatal(err)
		}
		i := 0
		for _, tr := range all {
			for copies := range 2 {
				var before []prompt.Exchange
				for k, s := range tr.Steps {
					p := l.prompts[i]
					if want := prompt.Render(o.template(), template.Turn(tr.Problem, before, tr.MaxSteps)); p.Text+p.Tail != want {
						t.Fatalf("%s: turn %d of %s is another text", chat, k, tr.ID)
					}
					if p.Follows != (k > 0) || (copies == 1) != strings.HasSuffix(p.ID, "#2") || k > 0 && math.Abs(p.Pause.Seconds()-0.5*tr.Steps[k-1].EnvExecSeconds) > 1e-6 {
						t.Fatalf("turn %d: %s follows %v after %v", k, p.ID, p.Follows, p.Pause)
					}
					before = append(before, prompt.Exchange{Thought: s.Thought, Action: s.Action, Observation: s.Observation})
					i++
				}
			}
		}
		if i != len(l.prompts) || l.source.Requests != i || l.source.Count != 3 || l.source.SharedBytes >= l.source.PromptBytesTotal || l.source.SharedBytes < l.source.PromptBytesTotal/2 {
			t.Errorf("%d prompts: %+v", i, l.source)
		}
	}
}

func TestOfATrajectoryAsManyTurnsAreSentAsAsked(t *testing.T) {
	l, err := readLoad(options{prompts: 5, seed: 1, turns: 3, rollouts: 1, chatTemplate: "qwen2.5"})
	if err != nil || len(l.prompts) != 15 || l.prompts[1].Pause != 0 {
		t.Errorf("%d prompts, %v", len(l.prompts), err)
	}
}

func TestConversationsAreReplayedThroughTheProxy(t *testing.T) {
	out := t.TempDir()
	e := loadgen(t, "-n", "4", "-turns", "3", "-env-scale", "0.1", "-rollouts", "2", "-sizes", "4", "-auto=false", "-unbatched=false", "-repeats", "1", "-sim-speed", "50", "-out", out)
	if e.status != 0 {
		t.Fatalf("status %d: %s", e.status, e.stderr)
	}
	r := readReport(t, out)
	if len(r.Runs) != 2 || r.Runs[0].Completed != 24 || r.Source.Requests != 24 || r.Source.Count != 4 {
		t.Fatalf("%+v", r.Source)
	}
	if cold := r.Runs[0].CachedShare(); cold < 0.6 {
		t.Errorf("only %.2f of a conversation's tokens were cached", cold)
	}
}
