package render

import (
	"strings"
	"testing"

	"paceline/loadgen/report"
)

// offered is a sweep in an open loop: one run fine, one of a slow generator.
func offered() report.Report {
	r := of([]report.Run{a(shape{setting: "8", phase: "cold", repeat: 1, wall: 10})},
		[]report.Run{a(shape{setting: "16", phase: "cold", repeat: 1, wall: 10, completed: 490, unsent: 10})})
	r.Config.Arrival = &report.Arrival{
		Process: "poisson", Rate: 5, MostOutstanding: 10_000, WhenFull: "drop", WarmUpSeconds: 2, LateAfterSeconds: 0.01,
	}
	r.Config.WarmUpPrompts = 16
	cpu := 5.0
	for i := range r.Runs {
		r.Runs[i].ProcessCPUSeconds = &cpu
		r.Runs[i].SchedulerWait = &report.SchedulerWait{P50: 1e-6, P99: 1e-4, Max: 2e-3}
		r.Runs[i].Arrivals = &report.Arrivals{
			WarmUp: 7, LatencyFromIntended: summary(500, 1.7), SendDelay: summary(500, 0.001), OwnDelay: summary(500, 0.001),
		}
	}
	r.Runs[1].Arrivals.Dropped, r.Runs[1].Arrivals.Late, r.Runs[1].Arrivals.LateByItself = 10, 40, 30
	return r
}

func TestAnOpenLoopIsToldWithItsArrivalsAndLatenciesFromWhenDue(t *testing.T) {
	got := markdownOf(t, offered())
	for _, want := range []string{
		"open loop, Poisson arrivals, 5/s; at most 10,000 under way, beyond which they are dropped, 0 new tokens",
		"## Latency from when requests were due", "| 16 | cold | 1 * | 1.70 |", "| 40 | 10 |",
		"Warm-up: 16 prompts before the first run, in no figure.",
		"requests due in the first 2 s of each run are in no figure: 14 requests",
		"Of 1,000 requests sent 40 late, more than 0.01 s after they were due; 30 of them by loadgen's own doing.",
		"Dropped: 10 requests due while",
		"Loadgen itself was slow in batch size 16 cold repeat 1:",
		"## The load generator itself", "| 8 | cold | 1 | 5.00 | 0.50 |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing", want)
		}
	}
	if strings.Contains(got, "Never sent") || strings.Contains(got, "closed loop") {
		t.Error("dropped requests are told as cut off, or the loop as closed")
	}
}

func TestAClosedLoopSaysNothingOfArrivals(t *testing.T) {
	if got := markdownOf(t, full()); strings.Contains(got, "due") || strings.Contains(got, "The load generator itself") {
		t.Error("a closed loop mentions due times")
	}
}

func TestInAnOpenLoopTheSoonestIsTakenAndNotTheFastest(t *testing.T) {
	r := of(repeats("8", "cold", 0.4, 10, 10.01, 10.02), repeats("16", "cold", 0.4, 9.9, 9.91, 9.92))
	r.Config.Arrival = offered().Config.Arrival
	for i := range r.Runs {
		mean := 0.5 + 0.001*float64(i)
		if r.Runs[i].Setting == "16" {
			mean = 2
		}
		r.Runs[i].Arrivals = &report.Arrivals{LatencyFromIntended: summary(500, mean)}
	}
	want := "under this load batch size 8 answers soonest, 0.501 s after a request was due on average (P99 0.601 s). " +
		"The repeats tell it apart from the next, batch size 16 (2.00 s)."
	contains(t, sectionOf(t, r, "recommendations"), want)
	for i := range r.Runs {
		r.Runs[i].Arrivals = &report.Arrivals{LatencyFromIntended: summary(500, 1+float64(r.Runs[i].Repeat))}
	}
	contains(t, sectionOf(t, r, "recommendations"), "It can't be told apart from the next")
}

// In an open loop the throughput is what was offered.
func TestAnOpenLoopRanksNothingByThroughput(t *testing.T) {
	r := offered()
	for _, p := range figuresOf(r).Phases {
		for _, c := range p.Cells {
			if c.Rank != 0 {
				t.Errorf("%s has rank %d", c.Setting, c.Rank)
			}
		}
	}
	lacks(t, markdownOf(t, r), "Improvement against", "saturat")
}
