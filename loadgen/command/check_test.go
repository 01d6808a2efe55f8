package command

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"paceline/loadgen/report"
)

const originalTable = "1 0.55\n2 0.31\n4 0.33\n8 0.33\n16 0.56\n" // of the script that never waited

func check(args ...string) (string, error) {
	var out strings.Builder
	err := checkCommand.run(context.Background(), "check", args, strings.NewReader(originalTable), &out)
	return out.String(), err
}

func TestTheOriginalTableIsImpossibleOnEveryDevice(t *testing.T) {
	out, err := check("-")
	if !errors.Is(err, errImpossible) || strings.Count(out, "impossible (at least") != 25 ||
		!strings.Contains(out, "No tokens were counted") || !strings.Contains(out, "not waited for") {
		t.Errorf("%v\n%s", err, out)
	}
}

// The table that this project replaces, as it stands in its file.
func TestTheOriginalFileIsImpossibleByHowMuchForWhichCard(t *testing.T) {
	out, err := check("../plausibility/testdata/seed_table.md")
	if !errors.Is(err, errImpossible) || fail(failed(err)) != exitImpossible {
		t.Errorf("%v", err)
	}
	for _, want := range []string{
		"impossible (at least 15.8 s, 51×)", "impossible (at least 4.99 s, 16.1×)", "impossible (at least 2.19 s, 7.07×)",
		"impossible (at least 3.77 s, 12.2×)", "The fastest, 2, on mi300x: 500 prompts in 0.31 s are 1613 a second.",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	out, err = check("-device", "8xh100", "../plausibility/testdata/sglang_bench.md")
	if err != nil || !strings.Contains(out, "8xh100: 500 prompts in 85.5 s") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestATimeThatADeviceCouldNeedIsPlausible(t *testing.T) {
	out, err := check("-prompts", "5", "-device", "h100", "-")
	if err != nil || strings.Contains(out, "impossible") || !strings.Contains(out, "plausible") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestCheckRefusesWhatItCannotJudge(t *testing.T) {
	for want, args := range map[string][]string{
		"one file": {}, "-device: must be a100": {"-device", "abacus", "-"}, "-prompts: must be at least 1": {"-prompts", "0", "-"},
		"-shared-tokens: must be from 0": {"-prompt-tokens", "5", "-"}, "no such file": {"nowhere.csv"},
		"-model-config: ": {"-model-config", "nowhere.json", "-"},
	} {
		var bad inputError
		if _, err := check(args...); !errors.As(err, &bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestAReportOfOursIsJudgedWithTheTokensItCounted(t *testing.T) {
	out := t.TempDir()
	e := loadgen(t, "-n", "20", "-sizes", "4", "-defaults=false", "-unbatched=false", "-repeats", "1",
		"-device", "h100", "-out", out)
	if e.status != 0 {
		t.Fatalf("status %d: %s", e.status, e.stderr)
	}
	r := readReport(t, out)
	if r.Limits == nil || r.Limits.Device.Name != "h100" || r.Limits.Model.Parameters < 6e9 {
		t.Errorf("%+v", r.Limits)
	}
	said, err := check("-device", "h100", filepath.Join(out, "results.json"))
	if err != nil || !strings.Contains(said, "4, cold, repeat 1") || !strings.Contains(said, "The server counted") ||
		strings.Contains(said, "impossible") {
		t.Errorf("%v\n%s", err, said)
	}
	if len(r.Runs) != 2 || r.Runs[0].PromptTokens == 0 {
		t.Fatalf("%+v", r.Runs)
	}
	if c, ok := (report.Run{}).Claim(); ok {
		t.Errorf("nothing was answered, and yet %+v", c)
	}
}

func TestEachRequestIsALineAndNoneHoldsAPrompt(t *testing.T) {
	out := t.TempDir()
	e := loadgen(t, "-n", "20", "-sizes", "4", "-defaults=false", "-repeats", "2",
		"-fail-if", "p99>1ms", "-fail-if", "failed>0%", "-out", out)
	if e.status != exitThreshold || !strings.Contains(e.stderr, "p99>1ms: p99 is") || strings.Contains(e.stderr, "failed>0%") {
		t.Errorf("status %d: %s", e.status, e.stderr)
	}
	data, err := os.ReadFile(filepath.Join(out, "requests.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	if len(lines) != 2*2*2*20 || strings.Contains(string(data), "ISSUE") || strings.Contains(string(data), "<|im_start|>") {
		t.Errorf("%d lines, the first %s", len(lines), lines[0])
	}
	for _, line := range lines {
		var r report.Request
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.Trajectory == "" || r.PromptTokens == 0 || r.LatencySeconds <= 0 ||
			r.SentSeconds < 0 {
			t.Fatalf("%v: %s", err, line)
		}
	}
}
