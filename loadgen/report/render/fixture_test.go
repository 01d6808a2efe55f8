package render

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"paceline/loadgen/report"
	"paceline/loadgen/report/figures"
	"paceline/loadgen/stats"
)

// made is the day of every fixture.
var made = time.Date(2026, 11, 23, 13, 33, 18, 0, time.UTC)

// shape is what a fixture's run is made from.
type shape struct {
	setting, phase string
	repeat         int
	wall           float64 // seconds
	cached         float64 // share of prompt tokens
	total          int     // 500 if 0
	completed      int     // total if 0; -1 for none
	unsent         int     // of those not completed
}

// a makes a run whose fields agree with each other.
func a(s shape) report.Run {
	total := s.total
	if total == 0 {
		total = 500
	}
	completed := s.completed
	switch completed {
	case 0:
		completed = total
	case -1:
		completed = 0
	}
	r := report.Run{
		Setting: s.setting, Mode: s.setting, Phase: s.phase, Repeat: s.repeat, StartedAt: made,
		Total: total, Completed: completed, Failed: total - completed - s.unsent, Complete: completed == total,
		WallSeconds: s.wall, PromptTokens: int64(completed) * 2905,
	}
	r.CachedTokens = int64(s.cached * float64(r.PromptTokens))
	if s.wall > 0 {
		r.RequestThroughput = float64(completed) / s.wall
		r.InputTokenThroughput = float64(r.PromptTokens) / s.wall
	}
	if r.Failed > 0 {
		r.Errors = map[string]int{"Unavailable": r.Failed}
	}
	if completed > 0 {
		r.Latency = summary(completed, 64*s.wall/float64(completed))
	}
	batches(&r)
	uncached, busy := r.PromptTokens-r.CachedTokens, 0.97*s.wall
	r.ServerUncachedTokens, r.ServerBusySeconds = &uncached, &busy
	return r
}

// batches fills what the receipts tell.
func batches(r *report.Run) {
	if size, err := strconv.Atoi(r.Setting); err == nil {
		r.Mode, r.BatchSize = "fixed", size
	}
	if r.Setting == "direct" || r.Completed == 0 {
		return
	}
	full := r.Completed / max(1, r.BatchSize)
	r.ReleaseReasons = map[string]int{"full": full}
	if r.Setting == "unbatched" {
		r.ReleaseReasons = map[string]int{"unbatched": full}
	}
	r.Batches = full
	if full*max(1, r.BatchSize) < r.Completed {
		r.ReleaseReasons["wait"] = 1
		r.Batches++
	}
	r.EffectiveBatchSize = float64(r.Completed) / float64(r.Batches)
	r.QueueWait = summary(r.Completed, r.Latency.Mean/2)
}

func summary(n int, mean float64) stats.Summary {
	return stats.Summary{Count: n, Mean: mean, P50: mean, P90: 1.1 * mean, P95: 1.15 * mean, P99: 1.2 * mean, Max: 1.3 * mean}
}

// repeats makes one run for each time.
func repeats(setting, phase string, cached float64, walls ...float64) []report.Run {
	var runs []report.Run
	for i, wall := range walls {
		runs = append(runs, a(shape{setting: setting, phase: phase, repeat: i + 1, wall: wall, cached: cached}))
	}
	return runs
}

func of(groups ...[]report.Run) report.Report {
	r := report.Report{
		FormatVersion: report.FormatVersion, CreatedAt: made, Version: "0123456789ab",
		Environment: report.Environment{GoVersion: "go1.26.8", OS: "linux", Arch: "amd64", CPUs: 2},
		Source: report.Source{
			Kind: "trajectories", File: "r2egym.jsonl", Count: 500, PromptBytesTotal: 6_122_310,
			Template: "system prompt: the trajectories' own; instance prompt: the trajectories' own; Qwen2.5 chat template",
		},
		Server: report.Server{
			URL: "http://127.0.0.1:30000", Version: "0.5.23", Model: "R2EGym-7B-Agent", ModelPath: "R2EGym-7B-Agent", Device: "cuda",
			MaxPromptTokens: 32762, KVCacheTokens: 400_000, ChunkedPrefillTokens: 8192, SchedulePolicy: "fcfs",
		},
		Config: report.Config{Concurrency: 64, MaxInFlight: 2, MaxWaitSeconds: 0.005, Repeats: 3, Seed: 1},
		Files:  []string{"report.md", "results.json", "run.log"},
	}
	for _, g := range groups {
		r.Runs = append(r.Runs, g...)
	}
	return r
}

// full is a sweep with everything in it: both phases, three repeats, sizes that
// can and can't be told apart, single calls, a simulated server.
func full() report.Report {
	r := of(
		repeats("16", "cold", 0.447, 14.59, 14.62, 14.55), repeats("16", "warm", 0.999, 3.90, 3.97, 3.88),
		repeats("8", "cold", 0.447, 14.61, 14.57, 14.63), repeats("8", "warm", 0.999, 4.21, 4.30, 4.25),
		repeats("4", "cold", 0.447, 14.77, 14.80, 14.71), repeats("4", "warm", 0.999, 4.80, 4.75, 4.88),
		repeats("2", "cold", 0.447, 15.10, 15.22, 15.05), repeats("2", "warm", 0.999, 5.40, 5.48, 5.44),
		repeats("1", "cold", 0.447, 15.80, 15.84, 15.77), repeats("1", "warm", 0.999, 6.10, 6.07, 6.15),
		repeats("unbatched", "cold", 0.447, 14.60, 14.58, 14.64), repeats("unbatched", "warm", 0.999, 6.20, 6.28, 6.22),
	)
	load := 4.4
	r.Simulated = true
	r.Simulation = &report.Simulation{Profile: "h100-qwen2.5-7b", Origin: "estimated, not measured", Speed: 5}
	r.Server.LoadSeconds = &load
	r.Server.Device = "NVIDIA H100 SXM (simulated)"
	r.Source.Kind, r.Source.File, r.Source.Seed = "generated", "", 1
	r.Source.SharedBytes = 2_730_000
	r.EnvExec = &report.EnvExec{
		Trajectories: 500, Steps: 23_580, MeanSeconds: 19.4270, TotalSeconds: 9713.52,
		FirstFiveMean: 1.9487, FirstFiveTotal: 974.35, MeanSecondsAStep: 0.41194,
	}
	return r
}

// cutShort is a real sweep that Ctrl-C ended, after failures: no size 1, few
// repeats, a run half done and one with nothing.
func cutShort() report.Report {
	r := of(
		[]report.Run{a(shape{setting: "8", phase: "cold", repeat: 1, wall: 61.3, cached: 0.44, completed: 496})},
		[]report.Run{a(shape{setting: "8", phase: "warm", repeat: 1, wall: 58.8, cached: 0.47, completed: 496})},
		[]report.Run{a(shape{setting: "16", phase: "cold", repeat: 1, wall: 60.2, cached: 0.44, completed: 496})},
		[]report.Run{a(shape{setting: "16", phase: "warm", repeat: 1, wall: 14.0, cached: 0.46, completed: 80, unsent: 356})},
		[]report.Run{a(shape{setting: "direct", phase: "warm", repeat: 1, completed: -1, unsent: 500})},
	)
	for i := range r.Runs {
		if n := r.Runs[i].Failed; n > 0 {
			r.Runs[i].Errors = map[string]int{"InvalidArgument": 4}
			if n > 4 {
				r.Runs[i].Errors["Canceled"] = n - 4
			}
		}
	}
	r.Runs[0].Notes = []string{"the proxy was restarted midway"}
	r.Partial, r.PartialReason = true, "interrupted"
	r.Environment.Args = []string{"-sglang", "http://127.0.0.1:30000", "-problems", "swe|verified.jsonl"}
	r.Config.Settings = []string{"8", "16", "32", "unbatched", "direct"}
	r.Config.Repeats = 1
	r.Source.Kind, r.Source.File = "problems", "swe.jsonl"
	r.Server.SchedulePolicy, r.Server.ChunkedPrefillTokens = "", 0
	return r
}

// everyFormat is each way of writing a report, by its name.
var everyFormat = map[string]func(io.Writer, report.Report) error{
	"results.json": report.WriteJSON,
	"report.md":    func(w io.Writer, r report.Report) error { return WriteMarkdown(w, figuresOf(r), English) },
	"report.md zh": func(w io.Writer, r report.Report) error { return WriteMarkdown(w, figuresOf(r), Chinese) },
	"terminal":     func(w io.Writer, r report.Report) error { return WriteTerminal(w, figuresOf(r), English) },
	"terminal zh":  func(w io.Writer, r report.Report) error { return WriteTerminal(w, figuresOf(r), Chinese) },
	"report.html":  func(w io.Writer, r report.Report) error { return WriteHTML(w, figuresOf(r), English) },
}

// figuresOf is the figures of a report.
func figuresOf(r report.Report) figures.Figures { return figures.Of(r) }

// sectionOf is a section of the English report: its lines, without marks.
func sectionOf(t *testing.T, r report.Report, name string) string {
	t.Helper()
	f := figuresOf(r)
	var data any = f
	if name == "findings" {
		data = f.Phases[0]
	}
	names := []string{name}
	if name == "recommendations" {
		names = []string{"warnings", "why"}
	}
	text := ""
	for _, name := range names {
		part, err := English.text(name, data)
		if err != nil {
			t.Fatal(err)
		}
		text += part
	}
	var lines []string
	for _, b := range parse(text, " ") {
		lines = append(append(lines, b.Text), b.Items...)
	}
	return strings.Join(lines, "\n")
}

func contains(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("no %q in:\n%s", w, text)
		}
	}
}

func lacks(t *testing.T, text string, unwanted ...string) {
	t.Helper()
	for _, w := range unwanted {
		if strings.Contains(text, w) {
			t.Errorf("%q is in:\n%s", w, text)
		}
	}
}

// markdownOf is report.md in English.
func markdownOf(t *testing.T, r report.Report) string {
	t.Helper()
	var b strings.Builder
	if err := WriteMarkdown(&b, figuresOf(r), English); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// requestsOf makes requests for a run: callers that send one after the other, in
// batches of the run's size.
func requestsOf(r report.Run) (all []report.Request) {
	const callers = 16
	for i := range max(0, min(r.Completed, 200)) {
		latency := r.Latency.Mean * (0.5 + float64(i%7)/7)
		all = append(all, report.Request{
			Setting: r.Setting, Phase: r.Phase, Repeat: r.Repeat, Trajectory: fmt.Sprintf("instance-%d", i),
			SentSeconds: float64(i/callers) * r.Latency.Mean, LatencySeconds: latency, PromptTokens: 2905, CachedTokens: 1298,
			BatchID: fmt.Sprint("b", i/max(1, r.BatchSize)), BatchSize: max(1, r.BatchSize),
			QueueWaitSeconds: latency / 2, TraceID: fmt.Sprintf("%032x", i),
		})
	}
	return all
}
