package main

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"paceline/loadgen/report"
)

// awaitRuns waits until a sweep has kept so many runs.
func awaitRuns(t *testing.T, dir string, n int) {
	t.Helper()
	for deadline := time.Now().Add(50 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		data, _ := os.ReadFile(filepath.Join(dir, journalFile))
		if strings.Count(string(data), "\n")-1 >= n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d runs were not measured", n)
		}
	}
}

// requestsOf counts the lines of requests.jsonl by their run.
func requestsOf(t *testing.T, dir string) map[string]int {
	t.Helper()
	all, err := readRequests(filepath.Join(dir, requestsFile))
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, q := range all {
		counts[q.Setting+" "+q.Phase+" "+string(rune('0'+q.Repeat))]++
	}
	return counts
}

func TestASweepThatIsKilledGoesOnWhereItWas(t *testing.T) {
	out := t.TempDir()
	args := []string{"-n", "30", "-sizes", "1,4", "-max-in-flight", "1,2", "-order", "fifo,prefix", "-unbatched=false", "-auto=false", "-repeats", "2", "-sim-speed", "50"}
	cmd, _, stderr := start(t, append(slices.Clone(args), "-out", out)...)
	awaitRuns(t, out, 3)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	wait(t, cmd)

	if e := loadgen(t, append(slices.Clone(args), "-resume", out, "-sizes", "1,8")...); e.status != 2 || !strings.Contains(e.stderr, `-sizes: "1,4" there and "1,8" here`) {
		t.Errorf("another plan: status %d: %s", e.status, e.stderr)
	}
	e := loadgen(t, "-resume", out)
	if e.status != 0 || !strings.Contains(e.stderr, "resumed: ") {
		t.Fatalf("status %d: %s, before %s", e.status, e.stderr, stderr)
	}
	r := readReport(t, out)
	if len(r.Runs) != 32 || r.Partial || len(r.Resumed) != 1 {
		t.Errorf("%d runs, partial %v, resumed %v", len(r.Runs), r.Partial, r.Resumed)
	}
	for run, n := range requestsOf(t, out) {
		if n != 30 {
			t.Errorf("%d requests of %s, want each of the 30 once", n, run)
		}
	}
	before := r.Runs[0].StartedAt
	if e := loadgen(t, append(args, "-resume", out)...); e.status != 0 {
		t.Errorf("a finished sweep with all its flags: status %d: %s", e.status, e.stderr)
	}
	if again := readReport(t, out); len(again.Runs) != 32 || !again.Runs[0].StartedAt.Equal(before) {
		t.Error("a finished sweep was measured again")
	}
	hgrm, err := os.ReadFile(filepath.Join(out, "latency", "cold-4,2_in_flight,prefix.hgrm"))
	if err != nil || !strings.Contains(string(hgrm), "#[Max") {
		t.Errorf("%.80s, %v", hgrm, err)
	}
}

func TestASweepThatIsInterruptedGoesOnToo(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no interrupt to send to another process")
	}
	out := t.TempDir()
	cmd, _, _ := start(t, "-n", "30", "-sizes", "1,2,4", "-repeats", "2", "-phases", "cold", "-sim-speed", "50", "-out", out)
	awaitRuns(t, out, 2)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	status := wait(t, cmd)
	if r := readReport(t, out); status == 130 && !r.Partial {
		t.Errorf("status %d, %d runs", status, len(r.Runs))
	}
	if e := loadgen(t, "-resume="+out); e.status != 0 {
		t.Fatalf("status %d: %s", e.status, e.stderr)
	}
	if r := readReport(t, out); r.Partial || len(r.Runs) != 10 || slices.ContainsFunc(r.Runs, func(r report.Run) bool { return r.Phase != "cold" }) {
		t.Errorf("%d runs, partial %v", len(r.Runs), r.Partial)
	}
}
