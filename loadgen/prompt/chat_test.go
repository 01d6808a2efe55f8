package prompt

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestQwen25RendersChatML(t *testing.T) {
	got := Render(Qwen25, []Message{{RoleSystem, "s"}, {RoleUser, "u\n"}, {RoleAssistant, "a"}, {RoleUser, "o"}})
	want := "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nu\n<|im_end|>\n" +
		"<|im_start|>assistant\na<|im_end|>\n<|im_start|>user\no<|im_end|>\n<|im_start|>assistant\n"
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestQwen25InsertsItsSystemMessageOnlyWhenThereIsNone(t *testing.T) {
	without := Render(Qwen25, []Message{{RoleUser, "u"}})
	own := "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
	if !strings.HasPrefix(without, own) {
		t.Errorf("got %q", without)
	}
	empty := Render(Qwen25, []Message{{RoleSystem, ""}, {RoleUser, "u"}})
	if !strings.HasPrefix(empty, "<|im_start|>system\n<|im_end|>\n") {
		t.Errorf("got %q", empty)
	}
}

func TestPlainIsTheContentsAlone(t *testing.T) {
	if got := Render(Plain, []Message{{RoleSystem, "s"}, {RoleUser, "u"}}); got != "s\n\nu" {
		t.Errorf("got %q", got)
	}
}

// Prefix caching rests on this law: a longer conversation begins with the
// rendering of the shorter one that the model answered.
func TestQwen25HistoryIsAppendOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		history := small.FirstTurn(rapid.String().Draw(t, "problem"), 9)
		before := Render(Qwen25, history)
		answer := rapid.String().Draw(t, "answer")
		history = append(history, Message{RoleAssistant, answer}, Message{RoleUser, rapid.String().Draw(t, "observation")})
		after := Render(Qwen25, withStepsRemaining(history, 8))
		if !strings.HasPrefix(after, before+answer+"<|im_end|>\n") {
			t.Fatalf("%q does not continue %q", after, before)
		}
	})
}
