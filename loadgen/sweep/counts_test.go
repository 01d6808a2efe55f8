package sweep

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"paceline/loadgen/target"
)

// A proxy of another build may pass on whatever its server counts.
func TestCountsThatCannotBeTrueAreInNoSum(t *testing.T) {
	text := strings.Repeat("a b ", 100) // 400 bytes
	for want, answer := range map[string]target.Answer{
		"":                                   {PromptTokens: 200, CachedTokens: 199},
		"0 prompt tokens":                    {},
		"-5 prompt tokens":                   {PromptTokens: -5},
		"-1 cached of 200 prompt tokens":     {PromptTokens: 200, CachedTokens: -1},
		"68884 cached of 200 prompt tokens":  {PromptTokens: 200, CachedTokens: 68_884},
		"405 tokens of a prompt of 400 byte": {PromptTokens: 405},
		"4294967291 tokens of a prompt of":   {PromptTokens: math.MaxUint32 - 4}, // -5 that was wrapped
	} {
		run := measurement{
			setting: Setting{Mode: ModeDirect}, prompts: []target.Prompt{{Text: text}, {Text: text[:300], Tail: text[300:]}},
			samples: []sample{{sent: true, answer: target.Answer{PromptTokens: 100, CachedTokens: 40}}, {sent: true, answer: answer}},
		}.report()
		switch {
		case want == "":
			if run.Impossible() != "" || run.PromptTokens != 300 || run.CachedTokens != 239 {
				t.Errorf("%+v", run)
			}
		case run.ImpossibleCounts != 1 || !strings.HasPrefix(run.Impossible(), want) || run.PromptTokens != 100 || run.CachedTokens != 40:
			t.Errorf("%s: %d, %s: %d tokens", want, run.ImpossibleCounts, run.Impossible(), run.PromptTokens)
		}
		if _, ok := run.Claim(); ok && want != "" {
			t.Errorf("%s: the run has a claim", want)
		}
	}
}

// tokens answers every prompt with the same count, at the second attempt.
type tokens int

func (n tokens) Send(context.Context, target.Prompt) (target.Answer, error) {
	return target.Answer{PromptTokens: int(n), Attempts: 2}, nil
}

func TestARunCountsTheRequestsThatTheProxySentAgain(t *testing.T) {
	prompts := []target.Prompt{{ID: "a", Text: "abcd"}, {ID: "b", Text: "efgh"}}
	samples, wall := pass(t.Context(), tokens(3), prompts, Plan{Concurrency: 1, Timeout: time.Minute}, new(RunProgress))
	m := measurement{setting: Setting{Mode: ModeDirect}, prompts: prompts, samples: samples, wall: wall}
	if run := m.report(); run.Retried != 2 {
		t.Errorf("%d retried, want 2", run.Retried)
	}
}
