package render

import (
	"testing"

	"paceline/loadgen/report"
)

func TestColdRunsWithMoreCachedThanPromptsShareAreNamed(t *testing.T) {
	r := of(repeats("8", "cold", 0.44, 10), repeats("16", "cold", 0.80, 10))
	lacks(t, sectionOf(t, r, "notes"), "Prompts begin alike") // shared bytes not told
	r.Source.SharedBytes = 2_730_000
	contains(t, sectionOf(t, r, "notes"), "44.6 % of their bytes", "More was cached in batch size 16 repeat 1 (80.0 %)")
	r.Runs = r.Runs[:1]
	lacks(t, sectionOf(t, r, "notes"), "More was cached")
}

func TestASaturatedGeneratorIsNamed(t *testing.T) {
	r := of(repeats("8", "cold", 0.44, 10))
	cpu := 19.5 // of 2 CPUs over 10 s
	r.Runs[0].ProcessCPUSeconds = &cpu
	contains(t, sectionOf(t, r, "warnings"), "over 90 % of all CPUs in batch size 8 cold repeat 1")
	cpu = 10
	lacks(t, sectionOf(t, r, "warnings"), "all CPUs")
}

func TestAServerThatComputedForOthersIsNamed(t *testing.T) {
	r := of(repeats("8", "cold", 0.44, 10, 10))
	lacks(t, sectionOf(t, r, "notes"), "another number of tokens")
	*r.Runs[1].ServerUncachedTokens *= 2
	contains(t, sectionOf(t, r, "notes"), "another number of tokens than the answers account for in batch size 8 cold repeat 2:")
}

func TestFailuresAreCountedByCauseAndExplained(t *testing.T) {
	r := of([]report.Run{a(shape{setting: "8", phase: "cold", repeat: 1, wall: 10, completed: 490})})
	r.Runs[0].Errors = map[string]int{"InvalidArgument": 9, "DeadlineExceeded": 1}
	contains(t, sectionOf(t, r, "notes"),
		"9 requests failed with InvalidArgument (refused as they are; one cause is a prompt longer than the 32,762 tokens",
		"1 request failed with DeadlineExceeded (no answer within")
}

func TestFewRepeatsAreSaid(t *testing.T) {
	contains(t, sectionOf(t, of(repeats("8", "cold", 0.44, 10, 10)), "notes"), "Not enough repeats to tell")
	lacks(t, sectionOf(t, of(repeats("8", "cold", 0.44, 10, 10, 10)), "notes"), "Not enough repeats to tell")
}

func TestADirectBaselineThatSendsAnotherFormIsNamed(t *testing.T) {
	r := of(repeats("unbatched", "cold", 0.44, 10), repeats("direct", "cold", 0.44, 10))
	lacks(t, sectionOf(t, r, "notes"), "Direct sends texts")
	r.Server.TextsSent = "as token ids: SGLang's /tokenize agrees with tokenizer.json"
	contains(t, sectionOf(t, r, "notes"), "Direct sends texts")
	r.Runs = r.Runs[:1]
	lacks(t, sectionOf(t, r, "notes"), "Direct sends texts")
}
