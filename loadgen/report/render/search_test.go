package render

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"paceline/loadgen/report"
	"paceline/loadgen/report/figures"
	"paceline/loadgen/stats"
)

// found is a search at three settings. One of them never keeps the objective.
func found() report.Report {
	r := of()
	r.Config.Objective, r.Config.Repeats = &report.Objective{Percentile: 99, Seconds: 0.5}, 2
	r.Config.Settings = []string{"16", "unbatched", "1"}
	r.Runs = nil
	at := func(setting string, rate, p99, within float64, repeats ...int) {
		for _, repeat := range repeats {
			run := a(shape{setting: setting, phase: "cold", repeat: repeat, wall: 10, cached: 0.4, total: 300})
			if setting != "unbatched" {
				wait := 0.005
				run.Mode, run.BatchSize, run.MaxInFlight, run.MaxWaitSeconds, run.Order = "fixed", 16, 2, &wait, "prefix"
			}
			run.Arrivals = &report.Arrivals{LatencyFromIntended: stats.Summary{Count: 300, P99: p99}}
			run.Rate, run.Outcome = rate, &report.Outcome{Kept: within >= 0.99, Within: within, WithinLate: within, Goodput: rate * within}
			r.Runs = append(r.Runs, run)
		}
	}
	for _, setting := range []string{"16", "unbatched"} {
		at(setting, 0, 0.08, 1, 0)
	}
	at("16", 40, 0.3, 1, 0, 1, 2)
	at("16", 42, 0.45, 0.995, 1)
	at("16", 42, 0.55, 0.98, 2)
	at("16", 44, 1.9, 0.6, 1, 2)
	at("unbatched", 30, 0.4, 0.99, 1, 2)
	at("unbatched", 33, 0.8, 0.9, 1, 2)
	at("1", 0, 0.6, 0.5, 0)
	return r
}

func TestASearchLeadsWithTheLargestRateAndTheFlags(t *testing.T) {
	var page bytes.Buffer
	if err := WriteHTML(&page, figuresOf(found()), English); err != nil {
		t.Fatal(err)
	}
	markdown := markdownOf(t, found())
	contains(t, markdown, "# Largest rate that keeps p99<500ms",
		"**Cold: up to 40.0 a second with batch size 16 (broken from 44.0), +33.3 % against unbatched.**",
		"| 🥇 1 | 16 | 40.0 | 44.0 | +33.3 % | 40.0 | 0.300 |", "| 🥈 2 | unbatched | 30.0 | 33.0 | – |",
		"| – | 1 | – | – | – | – | 0.600 with one caller |", "`-mode fixed -batch-size 16 -max-in-flight 2 -max-wait 5ms -share all`",
		"| 16 | cold | 42.0 | 1/2 |", "A rate is kept if in 2 passes")
	lacks(t, markdown, "t-test", "Nothing was measured", "Conclusion")
	for _, want := range []string{
		"Which rate does each setting bear, cold?", `class="bound"`, "16, 42.0/s: 0.500 s, kept in 1 of 2", ">40</text>",
	} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("no %s in the page", want)
		}
	}
}

func TestTheProxysDefaultsNeedNoFlagsAndDirectCallsNoProxy(t *testing.T) {
	for mode, want := range map[string]string{"defaults": "The proxy needs no flags", "direct": "No proxy is needed for direct"} {
		r := found()
		for i := range r.Runs {
			if r.Runs[i].Setting == "16" {
				r.Runs[i].Setting, r.Runs[i].Mode = mode, mode
			}
		}
		contains(t, markdownOf(t, r), want)
	}
}

func TestRatesWhoseIntervalsMeetAreNotToldApart(t *testing.T) {
	r := found()
	for i := range r.Runs {
		if r.Runs[i].Rate == 33 {
			r.Runs[i].Rate = 41
		}
	}
	s := figures.Of(r).Searches[0]
	if s.Found[0].Rank != 1 || s.Found[1].Rank != 1 || s.Found[2].Rank != 0 {
		t.Errorf("ranks %d, %d, %d", s.Found[0].Rank, s.Found[1].Rank, s.Found[2].Rank)
	}
	contains(t, markdownOf(t, r), "+33.3 % against unbatched (not told apart)")
}

func TestASearchWithoutABrokenRateSaysWhatWasMissing(t *testing.T) {
	r := found()
	r.Runs = slices.DeleteFunc(r.Runs, func(run report.Run) bool { return run.Outcome.Within < 0.99 })
	terminal := func() string {
		var b strings.Builder
		if err := WriteTerminal(&b, figuresOf(r), English); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	contains(t, terminal(), "(higher rates need more prompts: -n)")
	lacks(t, terminal(), "cut short")
	r.Partial, r.PartialReason = true, "interrupted"
	contains(t, terminal(), "(none above was shown to break it)", "The sweep was cut short; what it did not measure may be better.")
	r.Runs = r.Runs[:1]
	contains(t, terminal(), "Cold: no rate was settled.")
}
