package command

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"paceline/loadgen/journal"
	"paceline/loadgen/report"
)

// awaitRuns waits until a sweep has kept so many runs.
func awaitRuns(t *testing.T, dir string, n int) {
	t.Helper()
	for deadline := time.Now().Add(50 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		data, _ := os.ReadFile(filepath.Join(dir, journal.RunsFile))
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
	all, err := journal.ReadRequests(dir)
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
	args := []string{"-n", "200", "-sizes", "1,4", "-max-in-flight", "1,2", "-order", "fifo,prefix", "-unbatched=false",
		"-defaults=false", "-repeats", "2"}
	cmd, _, stderr := start(t, append(slices.Clone(args), "-out", out)...)
	awaitRuns(t, out, 3)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	wait(t, cmd)

	if e := loadgen(t, append(slices.Clone(args), "-resume", out, "-sizes", "1,8")...); e.status != 2 ||
		!strings.Contains(e.stderr, `-sizes: "1,4" there and "1,8" here`) {
		t.Errorf("another plan: status %d: %s", e.status, e.stderr)
	}
	if e := loadgen(t, "-resume="+out, "-n=5"); e.status != 2 || !strings.Contains(e.stderr, "-n: ") {
		t.Errorf("another -n: status %d, %s", e.status, e.stderr)
	}
	if e := loadgen(t, append(slices.Clone(args), "-out", out)...); e.status != 2 || !strings.Contains(e.stderr, "-resume "+out) {
		t.Errorf("begun anew: status %d, %s", e.status, e.stderr)
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
		if n != 200 {
			t.Errorf("%d requests of %s, want each of the 200 once", n, run)
		}
	}
	before := r.Runs[0].StartedAt
	if e := loadgen(t, append(args, "-resume", out)...); e.status != 0 {
		t.Errorf("a finished sweep with all its flags: status %d: %s", e.status, e.stderr)
	}
	if again := readReport(t, out); len(again.Runs) != 32 || !again.Runs[0].StartedAt.Equal(before) {
		t.Error("a finished sweep was measured again")
	}
}

func TestAFinishedSweepGoesOnWithMoreRepeats(t *testing.T) {
	out := t.TempDir()
	e := loadgen(t, "-n", "20", "-sizes", "1,4", "-unbatched=false", "-defaults=false", "-direct=false", "-phases", "cold",
		"-repeats", "2", "-out", out)
	if e.status != 0 {
		t.Fatalf("status %d: %s", e.status, e.stderr)
	}
	before := readReport(t, out).Runs
	if e := loadgen(t, "-resume", out, "-repeats", "1"); e.status != 2 || !strings.Contains(e.stderr, `-repeats: "2" there and "1" here`) {
		t.Errorf("fewer: status %d: %s", e.status, e.stderr)
	}
	if e := loadgen(t, "-resume", out, "-repeats", "3"); e.status != 0 {
		t.Fatalf("more: status %d: %s", e.status, e.stderr)
	}
	if e := loadgen(t, "-resume", out); e.status != 0 {
		t.Fatalf("once more: status %d: %s", e.status, e.stderr)
	}
	r := readReport(t, out)
	if len(r.Runs) != 6 || r.Config.Repeats != 3 || len(requestsOf(t, out)) != 6 {
		t.Fatalf("%d runs, %d repeats, requests of %d", len(r.Runs), r.Config.Repeats, len(requestsOf(t, out)))
	}
	for run, n := range requestsOf(t, out) {
		if n != 20 {
			t.Errorf("%d requests of %s, want each of the 20 once", n, run)
		}
	}
	for i, run := range before {
		if !r.Runs[i].StartedAt.Equal(run.StartedAt) {
			t.Errorf("%s, repeat %d was measured again", run.Setting, run.Repeat)
		}
	}
}

func TestWhatIsAddedToAFinishedSweepIsNotThrownAway(t *testing.T) {
	out := t.TempDir()
	args := []string{
		"-n", "20", "-sizes", "1,4", "-unbatched=false", "-defaults=false", "-direct=false", "-phases", "cold",
	}
	if e := loadgen(t, append(slices.Clone(args), "-repeats", "1", "-out", out)...); e.status != 0 {
		t.Fatalf("status %d: %s", e.status, e.stderr)
	}
	if e := loadgen(t, append(slices.Clone(args), "-out", out)...); e.status != 2 || !strings.Contains(e.stderr, "holds a finished report") ||
		!strings.Contains(e.stderr, "-resume "+out) {
		t.Errorf("finished: status %d: %s", e.status, e.stderr)
	}
	cmd, _, _ := start(t, "-resume", out, "-repeats", "500")
	awaitRuns(t, out, 3)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	wait(t, cmd)
	if e := loadgen(t, append(args, "-repeats", "1", "-out", out)...); e.status != 2 || !strings.Contains(e.stderr, "-resume "+out) {
		t.Errorf("status %d: %s", e.status, e.stderr)
	}
}

func TestASweepThatIsInterruptedGoesOnToo(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no interrupt to send to another process")
	}
	out := t.TempDir()
	cmd, _, _ := start(t, "-n", "300", "-sizes", "1,2,4", "-repeats", "2", "-phases", "cold", "-out", out)
	awaitRuns(t, out, 2)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	status := wait(t, cmd)
	if r := readReport(t, out); status == 130 && !r.Partial {
		t.Errorf("status %d, %d runs", status, len(r.Runs))
	}
	if e := loadgen(t, "report", "-lang", "zh", out); e.status != 0 {
		t.Errorf("the report of it in Chinese: status %d: %s", e.status, e.stderr)
	}
	if e := loadgen(t, "-resume="+out); e.status != 0 {
		t.Fatalf("status %d: %s", e.status, e.stderr)
	}
	if r := readReport(t, out); r.Partial || len(r.Runs) != 10 ||
		slices.ContainsFunc(r.Runs, func(r report.Run) bool { return r.Phase != "cold" }) {
		t.Errorf("%d runs, partial %v", len(r.Runs), r.Partial)
	}
}
