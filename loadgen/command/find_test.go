package command

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFindNamesTheLargestRateAndRefusesWhatItDoesNotUse(t *testing.T) {
	out := t.TempDir()
	e := loadgen(t, "find", "-slo", "p50<5s", "-n", "130", "-sizes", "16", "-defaults=false", "-repeats", "1", "-out", out)
	if e.status != 0 || !strings.Contains(e.stdout, "Largest rate that keeps p50<5s (simulated)") || !strings.Contains(e.stderr, "kept") {
		t.Fatalf("status %d: %s\n%s", e.status, e.stdout, e.stderr)
	}
	r := readReport(t, out)
	if r.Config.Objective == nil || len(r.Runs) < 4 || r.Runs[0].Outcome == nil || r.Runs[len(r.Runs)-1].Rate == 0 {
		t.Errorf("%d runs, %+v", len(r.Runs), r.Config)
	}
	page, err := os.ReadFile(filepath.Join(out, "report.html"))
	if err != nil || !strings.Contains(string(page), "Which rate does each setting bear, cold?") {
		t.Errorf("%v: %d bytes", err, len(page))
	}
	if e := loadgen(t, "find", "-slo", "p99<1ms", "-sizes", "16", "-defaults=false", "-unbatched=false", "-n", "400",
		"-out", t.TempDir()); e.status != exitThreshold || !strings.Contains(e.stderr, "no setting keeps p99<1ms at any rate") {
		t.Errorf("status %d: %s", e.status, e.stderr)
	}
	if e := loadgen(t, "find", "-slo", "p99<1s", "-n", "20", "-out", t.TempDir()); e.status != exitBadInput ||
		!strings.Contains(e.stderr, "-n: too few prompts: p99<1s needs") {
		t.Errorf("status %d: %s", e.status, e.stderr)
	}
	for want, args := range map[string][]string{
		"-slo: is missing: expected an objective such as p99<500ms": {},
		`percentile: expected p50, p90 or p99, got "p98"`:           {"-slo", "p98<1s"},
		"-rate: has no meaning in find":                             {"-slo", "p99<1s", "-rate", "5"},
		"-resume: has no meaning in find":                           {"-slo", "p99<1s", "-resume", "x"},
		"-warm-up: needs":                                           {"-slo", "p99<1s", "-warm-up", "1s"},
	} {
		if _, err := parseFind(args, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", args, err, want)
		}
	}
}
