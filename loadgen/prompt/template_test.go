package prompt

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var small = Template{System: "be brief", Instance: "fix this:\n" + Placeholder + "\nnow"}

func TestFirstTurnPutsTheProblemBetweenTheInstanceTexts(t *testing.T) {
	got := small.FirstTurn("it breaks", 40)
	want := []Message{
		{Role: "system", Content: "be brief"},
		{Role: "user", Content: "fix this:\nit breaks\nnow\nSteps Remaining: 40"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}

func TestProblemHoldingThePlaceholderIsNotExpandedAgain(t *testing.T) {
	got := small.FirstTurn("a "+Placeholder+" and {braces}", 1)[1].Content
	if want := "fix this:\na " + Placeholder + " and {braces}\nnow\nSteps Remaining: 1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNoStepsRemainingAsksForTheAnswer(t *testing.T) {
	for _, remaining := range []int{0, -3} {
		got := small.FirstTurn("p", remaining)[1].Content
		if !strings.HasSuffix(got, "\nYou have reached the maximum number of steps. Please submit your answer NOW.") {
			t.Errorf("remaining %d: got %q", remaining, got)
		}
	}
}

func TestStepsRemainingStaysInTheHistoryOfLaterTurns(t *testing.T) {
	history := small.FirstTurn("p", 2)
	history = append(history, Message{RoleAssistant, "a"}, Message{RoleUser, "o"})
	history = withStepsRemaining(history, 1)
	var notes []string
	for _, m := range history {
		if _, note, ok := strings.Cut(m.Content, "Steps Remaining: "); ok {
			notes = append(notes, m.Role+note)
		}
	}
	if diff := cmp.Diff([]string{"user2", "user1"}, notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
	if got := withStepsRemaining(nil, 1); got != nil {
		t.Errorf("empty history became %v", got)
	}
}

func TestTrajectoryPromptsWinUnlessTheUserGaveFiles(t *testing.T) {
	own := "theirs " + Placeholder
	for _, c := range []struct {
		name                     string
		template                 Template
		system, instance         string
		wantSystem, wantInstance string
	}{
		{"nothing recorded", small, "", "", small.System, small.Instance},
		{"both recorded", small, "their system", own, "their system", own},
		{"only system recorded", small, "their system", "", "their system", small.Instance},
		{"user gave system", Template{System: "s", Instance: small.Instance, systemGiven: true}, "their system", own, "s", own},
		{
			"user gave instance", Template{System: "s", Instance: small.Instance, instanceGiven: true},
			"their system", "no placeholder", "their system", small.Instance,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.template.For(c.system, c.instance)
			if err != nil {
				t.Fatal(err)
			}
			if got.System != c.wantSystem || got.Instance != c.wantInstance {
				t.Errorf("got %q and %q, want %q and %q", got.System, got.Instance, c.wantSystem, c.wantInstance)
			}
		})
	}
}

func TestTrajectoryPromptWithoutPlaceholderIsAnErrorThatHidesTheText(t *testing.T) {
	_, err := small.For("", "secret words")
	if err == nil {
		t.Fatal("no error")
	}
	if msg := err.Error(); strings.Contains(msg, "secret") || !strings.Contains(msg, "instance_prompt") ||
		!strings.Contains(msg, Placeholder) {
		t.Errorf("error is %q", msg)
	}
}
