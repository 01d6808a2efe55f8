package command

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"paceline/batcher"
	"paceline/loadgen/report"
	"paceline/loadgen/target"
	"paceline/proxy/server"
	"paceline/proxy/server/servertest"
	"paceline/sglang/sim"
)

// TestMain lets the test binary be loadgen: the tests below run it as a user
// would, with its exit status and its output.
func TestMain(m *testing.M) {
	if os.Getenv("PACELINE_TEST_AS_LOADGEN") == "1" {
		os.Exit(Main(os.Args[1:]))
	}
	if os.Getenv("PACELINE_TEST_HANGS_WHEN_STOPPED") == "1" {
		hangWhenStopped()
	}
	os.Exit(m.Run())
}

// hangWhenStopped is a process whose first signal ends nothing.
func hangWhenStopped() {
	ctx, stop := untilSignal()
	defer stop()
	fmt.Println("running")
	<-ctx.Done()
	time.Sleep(time.Minute)
}

type ending struct {
	status         int
	stdout, stderr string
}

func start(t *testing.T, args ...string) (*exec.Cmd, *bytes.Buffer, *bytes.Buffer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute) // bounds what hangs
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), "PACELINE_TEST_AS_LOADGEN=1")
	cmd.Dir = t.TempDir()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, &stdout, &stderr
}

func loadgen(t *testing.T, args ...string) ending {
	t.Helper()
	cmd, stdout, stderr := start(t, args...)
	return ending{wait(t, cmd), stdout.String(), stderr.String()}
}

func wait(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}

func readReport(t *testing.T, dir string) report.Report {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := report.ReadJSON(f)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "input.jsonl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWithoutArgumentsButASmallerLoadTheWholeWayIsMeasured(t *testing.T) {
	out := t.TempDir()
	e := loadgen(t, "-n", "20", "-sizes", "1,4", "-repeats", "1", "-max-wait", "60s", "-out", out)
	if e.status != 0 {
		t.Fatalf("status %d: %s", e.status, e.stderr)
	}
	r := readReport(t, out)
	if !r.Simulated || len(r.Runs) != 8 || r.Partial || r.EnvExec == nil {
		t.Fatalf("%d runs, %+v", len(r.Runs), r)
	}
	for _, run := range r.Runs {
		if run.Completed != 20 || run.Total != 20 || run.WallSeconds <= 0 || run.PromptTokens == 0 {
			t.Errorf("got %+v", run)
		}
		if run.Phase == "warm" && run.CachedShare() < 0.99 {
			t.Errorf("warm run with %.2f cached", run.CachedShare())
		}
		if run.Setting == "4" && run.EffectiveBatchSize != 4 {
			t.Errorf("batches of %v", run.EffectiveBatchSize)
		}
	}
	for _, file := range []string{"report.md", "report.html", "results.json", "requests.jsonl", "run.log"} {
		if info, err := os.Stat(filepath.Join(out, file)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", file, err)
		}
	}
	if !strings.Contains(e.stdout, "(simulated)") {
		t.Errorf("the summary does not say that it is simulated: %s", e.stdout)
	}
}

func TestBadInputIsNamedInOneLine(t *testing.T) {
	refused := closedPort(t)
	cases := []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"size 0", []string{"-sizes", "0"}, 2, "-sizes: a batch size must be from 1 to 4096, got 0"},
		{"a size that is no number", []string{"-sizes", "1,x"}, 2, `-sizes: "x" is not a whole number`},
		{"no prompts", []string{"-n", "0"}, 2, "-n: must be at least 1, got 0"},
		{"no callers", []string{"-concurrency", "0"}, 2, "-concurrency: must be at least 1"},
		{"nothing to measure", []string{"-sizes", "none", "-unbatched=false", "-defaults=false"}, 2, "-sizes: names no setting"},
		{"no size", []string{"-sizes", ""}, 2, "must hold a batch size such as 16, or be none"},
		{"unknown flag", []string{"-size", "4"}, 2, "-size: not a flag: is -sizes meant?"},
		{"argument", []string{"x"}, 2, `unexpected argument "x"`},
		{"missing file", []string{"-trajectories", "missing.jsonl"}, 2, "missing.jsonl"},
		{"missing problems", []string{"-problems", "missing.jsonl"}, 2, "missing.jsonl"},
		{"broken line", []string{"-trajectories", write(t, `{"problem_statement":"a"}`+"\n"+`{"problem_`+"\n")}, 2, "line 2"},
		{"missing field", []string{"-problems", write(t, `{"instance_id":"a"}`+"\n")}, 2, "problem_statement"},
		{"instance prompt without its place", []string{"-instance", write(t, "no place")}, 2, "{problem_statement}"},
		{"unknown profile", []string{"-sim-profile", "nope"}, 2, "h100-qwen2.5-7b"},
		{"stop without repeats", []string{"-stop-when", "2%"}, 2, "-stop-when: an interval needs 5 repeats"},
		{"unknown order", []string{"-order", "lifo"}, 2, `-order: must be fifo or prefix, got "lifo"`},
		{"nothing to resume", []string{"-resume", "missing"}, 2, "there is no " + filepath.Join("missing", "runs.jsonl")},
		{"a key for nobody", []string{"-target-key-file", "x"}, 2, "need -target"},
		{"both sources", []string{"-problems", "a", "-trajectories", "b"}, 2, "one, not both"},
		{"target without admin", []string{"-target", "127.0.0.1:1"}, 2, "needs -target-admin"},
		{"no server", []string{"-n", "1", "-sglang", "http://" + refused}, 1, "no SGLang is ready at http://" + refused},
		{
			"no proxy",
			[]string{"-n", "1", "-target", refused, "-target-admin", refused},
			1,
			"no proxy answers at its admin address " + refused,
		},
		{"not a URL", []string{"-n", "1", "-sglang", "127.0.0.1:1"}, 2, "-sglang"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			e := loadgen(t, c.args...)
			if e.status != c.status || !strings.Contains(e.stderr, c.want) {
				t.Errorf("status %d, want %d: %s", e.status, c.status, e.stderr)
			}
			if strings.Contains(e.stderr, "goroutine") || strings.Count(e.stderr, "\n") != 1 {
				t.Errorf("not one line: %s", e.stderr)
			}
		})
	}
}

func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestAReportIsWrittenInChineseAndAnewInEnglish(t *testing.T) {
	out, anew := t.TempDir(), t.TempDir()
	e := loadgen(t, "-n", "12", "-sizes", "4", "-defaults=false", "-repeats", "1", "-lang", "zh", "-out", out)
	if e.status != 0 || !strings.Contains(e.stdout, "批大小") || !strings.Contains(e.stdout, "报告：") {
		t.Fatalf("status %d: %s%s", e.status, e.stdout, e.stderr)
	}
	read := func(dir, name string) string {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	if md, html := read(out, "report.md"), read(out, "report.html"); !strings.Contains(md, "吞吐量") ||
		!strings.Contains(html, `lang="zh-Hans"`) {
		t.Error("the files are not in Chinese")
	}
	e = loadgen(t, "report", "-out", anew, out)
	if e.status != 0 || !strings.Contains(e.stdout, "batch size") {
		t.Fatalf("status %d: %s%s", e.status, e.stdout, e.stderr)
	}
	if md, html := read(anew, "report.md"), read(anew, "report.html"); !strings.Contains(md, "throughput") ||
		!strings.Contains(html, `lang="en"`) || !strings.Contains(html, "Which setting is fastest, cold?") {
		t.Error("the files are not in English")
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"report"}, "must be given the directory of one report"}, {[]string{"report", "missing"}, "missing"},
		{[]string{"report", "-lang", "de", out}, "-lang: must be en or zh"},
		{[]string{"-lang", "de"}, "-lang: must be en or zh"}, {[]string{"schema", "x"}, "unexpected argument"},
	} {
		if e := loadgen(t, c.args...); e.status != exitBadInput || !strings.Contains(e.stderr, c.want) ||
			strings.Count(e.stderr, "\n") != 1 {
			t.Errorf("%v: status %d: %s", c.args, e.status, e.stderr)
		}
	}
}

func TestTheSchemaIsPrinted(t *testing.T) {
	if e := loadgen(t, "schema"); e.status != 0 || !json.Valid([]byte(e.stdout)) || !strings.Contains(e.stdout, "2020-12") {
		t.Errorf("status %d: %s", e.status, e.stderr)
	}
}

func TestWithoutATerminalThereIsALineARunAndNothingElse(t *testing.T) {
	e := loadgen(t, "-n", "8", "-sizes", "4", "-defaults=false", "-unbatched=false", "-repeats", "2", "-out", t.TempDir())
	_, runs, _ := strings.Cut(e.stderr, "\n\n") // after what is about to be measured
	if strings.ContainsAny(e.stderr, "\r\x1b") || strings.Count("\n"+runs, "\nbatch ") != 4 || strings.Count(runs, "\n") != 4 {
		t.Errorf("%q", e.stderr)
	}
}

func TestHelpTeachesByExample(t *testing.T) {
	e := loadgen(t, "-h")
	if e.status != 0 || !strings.Contains(e.stdout, "go run ./loadgen -sglang") || !strings.Contains(e.stdout, "-sizes") {
		t.Errorf("status %d: %s%s", e.status, e.stdout, e.stderr)
	}
}

func TestInterruptWritesWhatWasMeasured(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no interrupt to send to another process")
	}
	out := t.TempDir()
	cmd, stdout, stderr := start(t, "-n", "200", "-sizes", "4", "-repeats", "50", "-out", out)
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(logOf(out), "run measured"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing was measured")
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if status := wait(t, cmd); status != 130 {
		t.Errorf("status %d, want 130: %s", status, stderr)
	}
	r := readReport(t, out)
	if !r.Partial || r.PartialReason != "interrupted" || len(r.Runs) == 0 {
		t.Errorf("partial %v (%s), %d runs", r.Partial, r.PartialReason, len(r.Runs))
	}
	if !strings.Contains(stdout.String(), "(partial)") || strings.Contains(stderr.String(), "goroutine") {
		t.Errorf("%s\n%s", stdout, stderr)
	}
}

func TestASecondInterruptEndsAtOnceWhateverHangs(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no interrupt to send to another process")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), "PACELINE_TEST_HANGS_WHEN_STOPPED=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	told, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "running\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(told).ReadString('\n'); err != nil || line != "stopping; a second signal ends at once\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if status := wait(t, cmd); status != exitInterrupted {
		t.Errorf("status %d, want %d", status, exitInterrupted)
	}
}

func TestWhateverASignalBreaksOffIsAnInterrupt(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	broken := status.Error(codes.Canceled, "rpc error of a call between two passes")
	if err := orInterrupted(ended, broken); !errors.Is(err, broken) {
		t.Errorf("before the signal: %v", err)
	}
	end()
	if err := orInterrupted(ended, broken); !errors.Is(err, errInterrupted) {
		t.Errorf("after the signal: %v", err)
	}
}

// runningProxy is a proxy with settings of its own in front of a simulator, as another
// process would run it.
func runningProxy(t *testing.T) (addr, admin string) {
	t.Helper()
	p := servertest.Start(t, 1, func(cfg *server.Config) {
		cfg.Admin = "127.0.0.1:0"
		cfg.Settings.Mode = batcher.ModeUnbatched
		cfg.Settings.BatchSize, cfg.Settings.BatchTokens, cfg.Settings.MaxWait = 7, 100, 3*time.Millisecond
	})
	return p.Addr(), p.AdminAddr()
}

// TestSweepMeasuresWithoutMergingOrBudgetsAndPutsTheProxyBack sends one prompt
// many times, which merging would answer with a single one.
func TestSweepMeasuresWithoutMergingOrBudgetsAndPutsTheProxyBack(t *testing.T) {
	addr, admin := runningProxy(t)
	ctx := t.Context()
	proxy, err := target.DialProxy(addr, admin, target.Access{})
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	before, err := proxy.CurrentSettings(ctx)
	if err != nil {
		t.Fatal(err)
	}

	out := t.TempDir()
	e := loadgen(t, "-target", addr, "-target-admin", admin, "-out", out, "-sizes", "4", "-defaults=false", "-repeats", "1",
		"-max-wait", "60s", "-problems", write(t, strings.Repeat(`{"problem_statement": "the same for all"}`+"\n", 24)))
	if e.status != 0 {
		t.Fatalf("status %d: %s", e.status, e.stderr)
	}
	if !strings.Contains(e.stderr, "each cold run flushes the prefix cache of SGLang behind "+addr) {
		t.Errorf("says nothing of the flush: %s", e.stderr)
	}
	for _, run := range readReport(t, out).Runs {
		if want := 24 / max(1, run.BatchSize); run.Batches != want || run.Completed != 24 {
			t.Errorf("setting %s: %d answers in %d batches, want 24 in %d", run.Setting, run.Completed, run.Batches, want)
		}
	}
	after, err := proxy.CurrentSettings(ctx)
	if err != nil || after != before {
		t.Errorf("settings %+v (%v), were %+v", after, err, before)
	}
}

func TestAServerWhoseContextIsTooShortIsNamedBeforeTheWarmUp(t *testing.T) {
	profile, err := sim.ProfileNamed(defaultProfile)
	if err != nil {
		t.Fatal(err)
	}
	profile.ContextLength = 1024
	s, err := sim.New(sim.Options{Profile: profile, Speed: 100})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	simulated, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(simulated)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux() // the simulator can't count tokens for others
	mux.Handle("/", httputil.NewSingleHostReverseProxy(to))
	mux.HandleFunc("POST /tokenize", func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"tokens": make([]int, len(text)/4)})
	})
	sglang := httptest.NewServer(mux)
	defer sglang.Close()
	e := loadgen(t, "-sglang", sglang.URL, "-n", "4", "-sizes", "4", "-out", t.TempDir())
	if e.status != exitBadInput || !strings.Contains(e.stderr, "each prompt is longer than") ||
		!strings.Contains(e.stderr, "--context-length ") || s.Stats().Requests != 0 {
		t.Errorf("status %d after %d requests: %s", e.status, s.Stats().Requests, e.stderr)
	}
	mixed := write(t, `{"problem_statement": "short"}`+"\n"+`{"problem_statement": "`+strings.Repeat("long ", 2000)+`"}`+"\n")
	e = loadgen(t, "-sglang", sglang.URL, "-problems", mixed, "-system", write(t, "s"), "-instance", write(t, "{problem_statement}"),
		"-sizes", "none", "-defaults=false", "-unbatched=false", "-repeats", "1", "-out", t.TempDir())
	if !strings.Contains(e.stderr, "some prompts are longer than") {
		t.Errorf("status %d: %s", e.status, e.stderr)
	}
}

func logOf(dir string) string {
	data, _ := os.ReadFile(filepath.Join(dir, "run.log"))
	return string(data)
}

// TestServerThatDiesMidwayEndsTheSweepWithAReport closes the simulator under a
// running sweep.
func TestServerThatDiesMidwayEndsTheSweepWithAReport(t *testing.T) {
	profile, err := sim.ProfileNamed("cpu-tiny-qwen2")
	if err != nil {
		t.Fatal(err)
	}
	profile.ContextLength, profile.KVCacheTokens = 32768, 1_000_000
	s, err := sim.New(sim.Options{Profile: profile, Speed: 50})
	if err != nil {
		t.Fatal(err)
	}
	url, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	cmd, _, stderr := start(t, "-n", "50", "-sizes", "4", "-repeats", "500", "-timeout", "5s", "-sglang", url, "-out", out)
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(logOf(out), "run measured"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing was measured: " + stderr.String())
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if status := wait(t, cmd); status != 1 {
		t.Errorf("status %d, want 1: %s", status, stderr)
	}
	if r := readReport(t, out); !r.Partial || len(r.Runs) == 0 {
		t.Errorf("partial %v, %d runs", r.Partial, len(r.Runs))
	}
}

func TestFilesOfRealTrajectoriesAreReplayed(t *testing.T) {
	path, err := filepath.Abs(filepath.Join("..", "..", "..", "shared", "data", "r2egym_trajectories_15.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip("the real trajectories are not beside the checkout: ", err)
	}
	out := t.TempDir()
	e := loadgen(t, "-trajectories", path, "-sizes", "4", "-unbatched=false", "-defaults=false", "-repeats", "1",
		"-out", out)
	if e.status != 0 {
		t.Fatalf("status %d: %s", e.status, e.stderr)
	}
	r := readReport(t, out)
	if r.Source.Count != 15 || r.EnvExec == nil || r.EnvExec.Steps != 342 {
		t.Errorf("got %+v, %+v", r.Source, r.EnvExec)
	}
}
