package render

import (
	"bytes"
	"strings"
	"testing"

	"paceline/loadgen/plausibility"
	"paceline/loadgen/report"
)

func TestAFigureThatNoDeviceCanReachIsCalledImpossible(t *testing.T) {
	h100, err := plausibility.DeviceNamed("h100")
	if err != nil {
		t.Fatal(err)
	}
	r := of(
		[]report.Run{a(shape{setting: "4", phase: "cold", repeat: 1, wall: 30}), a(shape{setting: "8", phase: "cold", repeat: 1, wall: 1})},
		[]report.Run{a(shape{setting: "4", phase: "warm", repeat: 1, wall: 1, cached: 1})})
	r.Limits = &report.Limits{Device: h100, Model: plausibility.Qwen25of7B}
	var markdown, terminal bytes.Buffer
	if err := WriteMarkdown(&markdown, figuresOf(r), English); err != nil {
		t.Fatal(err)
	}
	if err := WriteTerminal(&terminal, figuresOf(r), English); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| cold | 4 | plausible |", "| cold | 8 | impossible |", "| warm | 4 | cache-assisted |"} {
		if !strings.Contains(markdown.String(), want) {
			t.Errorf("lacks %q:\n%s", want, markdown.String())
		}
	}
	if !strings.Contains(terminal.String(), "Impossible on h100: cold 8.") {
		t.Error(terminal.String())
	}
}

func TestAVerdictShowsItsArithmetic(t *testing.T) {
	h100, err := plausibility.DeviceNamed("h100")
	if err != nil {
		t.Fatal(err)
	}
	several := h100
	several.Name, several.Count = "a|b", 4
	claim := plausibility.Claim{Prompts: 500, Seconds: 0.31, PromptTokens: 1_011_498, CachedTokens: 500 * 1267}
	contains(t, Sum(plausibility.Judge(h100, plausibility.Qwen25of7B, claim), English),
		"500 prompts in 0.31 s are 1613 a second. No tokens were counted.",
		"Qwen2.5-7B multiplies a token with 6.53 billion parameters, 13.1 GFLOP",
		"One h100 computes at most 989 TFLOP/s",
		"times faster: the answers were not waited for",
		"(Had the same prompts just gone through before")
	claim.Seconds, claim.Counted = 40, true
	contains(t, Sum(plausibility.Judge(several, plausibility.Qwen25of7B, claim), English),
		"The server counted 1,011,498 tokens", "4 a|b compute at most", "% of the time that it took.")
	claim.Seconds = 5
	claim.CachedTokens = claim.PromptTokens - 10
	contains(t, Sum(plausibility.Judge(h100, plausibility.Qwen25of7B, claim), English), "the cache made it possible")
}
