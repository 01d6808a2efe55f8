package render

import (
	"io"
	"strings"
	"testing"

	"paceline/loadgen/plausibility"
	"paceline/loadgen/report"
	"paceline/loadgen/report/figures"
)

func TestTitleSaysSimulatedAndPartial(t *testing.T) {
	r := full()
	if got := markdownOf(t, r); !strings.HasPrefix(got, "# Prefill throughput by batch size (simulated)\n") {
		t.Error(got[:80])
	}
	r.Partial = true
	if English.line("title", r) != "Prefill throughput by batch size (simulated) (partial)" {
		t.Error(English.line("title", r))
	}
	r.Simulated, r.Partial = false, false
	if strings.Contains(English.line("title", r), "simulated") {
		t.Error(English.line("title", r))
	}
}

func TestWithoutSizeOneThereIsNoImprovementTableAndWhyIsSaid(t *testing.T) {
	got := markdownOf(t, of(repeats("8", "cold", 0.4, 10, 10, 10)))
	if strings.Contains(got, "throughput (ratio)") || !strings.Contains(got, "not shown, because batch size 1 has no figure") {
		t.Error(got)
	}
	got = markdownOf(t, of(repeats("1", "cold", 0.4, 10, 10, 10)))
	if strings.Contains(got, "throughput (ratio)") || !strings.Contains(got, "no other setting has a figure") {
		t.Error(got)
	}
}

func TestEveryTableRowHasAsManyCellsAsItsHead(t *testing.T) {
	for _, r := range []report.Report{full(), cutShort(), of()} {
		cells := 0
		for line := range strings.Lines(markdownOf(t, r)) {
			if !strings.HasPrefix(line, "|") {
				cells = 0
				continue
			}
			n := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|")
			if cells != 0 && n != cells {
				t.Errorf("%d cells after %d: %s", n, cells, line)
			}
			cells = n
		}
	}
}

func TestNamesFromOutsideCannotBreakTheLayout(t *testing.T) {
	r := of(repeats("8", "cold", 0.4, 10))
	r.Server.Model = "a|b\n# c"
	r.Partial, r.PartialReason = true, "first\n\n# second"
	got := markdownOf(t, r)
	if !strings.Contains(got, `| Model | a\|b # c (R2EGym-7B-Agent) |`) || strings.Contains(got, "\n# second") {
		t.Error(got)
	}
}

func TestAFailureIsNeverRoundedAway(t *testing.T) {
	if got := success(99_999, 100_000); got != "99.9 %" {
		t.Error(got)
	}
	if got := success(500, 500); got != "100.0 %" {
		t.Error(got)
	}
	if got := success(0, 0); got != "0.0 %" {
		t.Error(got)
	}
}

func TestFiveRunsHaveAnInterval(t *testing.T) {
	got := markdownOf(t, of(repeats("8", "cold", 0.4, 10, 10.1, 10.2, 10.3, 10.4)))
	if !strings.Contains(got, "95 % bootstrap interval 48.08 – 50.00") {
		t.Error(got)
	}
}

func TestARealSweepIsNowhereCalledSimulated(t *testing.T) {
	r := full()
	r.Simulated, r.Simulation, r.Server.Device = false, nil, "cuda"
	if strings.Contains(strings.ToLower(markdownOf(t, r)), "simulated") {
		t.Error("a real sweep is called simulated")
	}
}

func TestEmptyReportsAreWritten(t *testing.T) {
	for _, r := range []report.Report{{}, {Partial: true, Simulated: true}} {
		rendersFinite(t, r)
	}
}

func TestSettingWithoutAnyAnswerHasNoFigure(t *testing.T) {
	r := of([]report.Run{a(shape{setting: "2", phase: "cold", repeat: 1, completed: -1})})
	contains(t, markdownOf(t, r), "0/500", "nothing to recommend", "500 requests failed with Unavailable", "no prompt was answered")
}

func TestPartialReportKeepsWhatWasMeasuredAndCountsWhatWasNotSent(t *testing.T) {
	r := of(repeats("8", "cold", 0.4, 10, 10, 10),
		[]report.Run{a(shape{setting: "2", phase: "cold", repeat: 1, wall: 3, completed: 100, unsent: 400})})
	r.Partial, r.PartialReason = true, "interrupted"
	contains(t, markdownOf(t, r), "(partial)", "**Partial:** the sweep was cut short (interrupted)", "| 2 * |",
		"100/500", "Never sent, because the sweep was cut short: 400 prompts.")
}

// Whatever a name holds, it adds no line to the report.
func TestNoNameFromOutsideAddsALine(t *testing.T) {
	named := func(evil string) report.Report {
		r := traced()
		r.Simulated, r.Simulation = true, &report.Simulation{Profile: evil, Origin: evil, Speed: 2}
		r.Partial, r.PartialReason, r.ProxyVersion, r.Version, r.Files = true, evil, evil, evil, []string{evil}
		r.Environment = report.Environment{GoVersion: evil, OS: evil, OSVersion: evil, Arch: evil, CPUModel: evil, Args: []string{evil}}
		r.Source.File, r.Source.Template, r.Source.Kind = evil, evil, evil
		r.Server = report.Server{
			URL: evil, Version: evil, Model: evil, ModelPath: "a" + evil, Device: evil, SchedulePolicy: evil, TextsSent: evil,
		}
		r.Tracing.URL, r.Tracing.Sampler = evil, evil
		r.Limits = &report.Limits{
			Device: plausibility.Device{Name: evil, FLOPSPerSecond: 1, MemoryBytesPerSecond: 1},
			Model:  plausibility.Model{Name: evil, Parameters: 1},
		}
		run := &r.Runs[0]
		run.Setting, run.Notes, run.Errors, run.ReleaseReasons = evil, []string{evil}, map[string]int{evil: 2}, map[string]int{evil: 9}
		run.EffectiveBatchSize = 1
		for i := range run.Traces {
			run.Traces[i].ID, run.Traces[i].Trajectory = evil, evil
		}
		run.Traces[len(run.Traces)-1].Cause = evil
		return r
	}
	for _, l := range []*Language{English, Chinese} {
		var texts [2]string
		for i, name := range []string{"plain", "a|b\n\n# evil\n- evil\n| evil | evil |\n![](evil)"} {
			var b strings.Builder
			for _, write := range []func(io.Writer, figures.Figures, *Language) error{WriteMarkdown, WriteTerminal} {
				if err := write(&b, figuresOf(named(name)), l); err != nil {
					t.Fatal(err)
				}
			}
			texts[i] = b.String()
		}
		if a, b := strings.Count(texts[0], "\n"), strings.Count(texts[1], "\n"); a != b {
			t.Errorf("%s: %d lines with a plain name, %d with another:\n%s", l.Code, a, b, texts[1])
		}
	}
}
