package report

import (
	"strings"
	"testing"

	"paceline/loadgen/phrase"
	"paceline/loadgen/stats"
)

// offered is a sweep in an open loop: one run fine, one of a slow generator.
func offered() Report {
	r := of([]Run{a(shape{setting: "8", phase: "cold", repeat: 1, wall: 10})}, []Run{a(shape{setting: "16", phase: "cold", repeat: 1, wall: 10, completed: 490, unsent: 10})})
	r.Config.Arrival = &Arrival{Process: "poisson", Rate: 5, RateEnd: 50, MostOutstanding: 10_000, WhenFull: "drop", WarmUpSeconds: 2, LateAfterSeconds: 0.01}
	r.Config.WarmUpPrompts = 16
	cpu := 5.0
	for i := range r.Runs {
		r.Runs[i].ProcessCPUSeconds = &cpu
		r.Runs[i].SchedulerWait = &SchedulerWait{P50: 1e-6, P99: 1e-4, Max: 2e-3}
		r.Runs[i].Arrivals = &Arrivals{WarmUp: 7, LatencyFromIntended: summary(500, 1.7), SendDelay: summary(500, 0.001), OwnDelay: summary(500, 0.001)}
	}
	r.Runs[1].Arrivals.Dropped, r.Runs[1].Arrivals.Late, r.Runs[1].Arrivals.LateByItself = 10, 40, 30
	return r
}

func TestAnOpenLoopIsToldWithItsArrivalsAndLatenciesFromWhenDue(t *testing.T) {
	got := markdown(t, offered())
	for _, want := range []string{
		"open loop, Poisson arrivals, from 5/s to 50/s; at most 10,000 under way, beyond which they are dropped, 0 new tokens",
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
	if got := markdown(t, full()); strings.Contains(got, "due") || strings.Contains(got, "The load generator itself") {
		t.Error("a closed loop tells of due times")
	}
}

// A tenth of the median latency spent waiting for a processor is told; times of a
// simulated clock count as that clock does.
func TestASlowGeneratorIsToldFromASlowServer(t *testing.T) {
	run := a(shape{setting: "8", phase: "cold", repeat: 1, wall: 10})
	run.Latency = stats.Summary{Count: 9, P50: 0.1}
	run.SchedulerWait = &SchedulerWait{P99: 0.004}
	if run.slowScheduler(1) || !run.slowScheduler(3) {
		t.Error("4 ms of 100 ms are 12 ms at three simulated seconds a real one")
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
		r.Runs[i].Arrivals = &Arrivals{LatencyFromIntended: summary(500, mean)}
	}
	want := "under this load batch size 8 answers soonest, 0.501 s after a request was due on average (P99 0.601 s). The repeats tell it apart from the next, batch size 16 (2.00 s)."
	if got := r.recommend(r.phases()[0]); got.String() != want {
		t.Errorf("got %s", got)
	}
	for i := range r.Runs {
		r.Runs[i].Arrivals = &Arrivals{LatencyFromIntended: summary(500, 1+float64(r.Runs[i].Repeat))}
	}
	if got := r.recommend(r.phases()[0]); !strings.Contains(got.String(), "It can't be told apart from the next") {
		t.Errorf("got %s", got)
	}
}

func TestThresholdsSpeakOfDueTimesToo(t *testing.T) {
	for text, fails := range map[string]int{"duep99>2s": 2, "duep99>3s": 0, "dropped>0": 1, "late>5%": 1, "late>9%": 0} {
		one, err := ParseThreshold(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := offered().Failures([]Threshold{one}); len(got) != fails {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestDroppedRequestsEndARunAndDoNotFailIt(t *testing.T) {
	r := offered().Runs[1]
	if !r.endedAll() || !comparesWith(r, 1) {
		t.Errorf("%+v", r)
	}
}

func TestReportsOfBeforeTellNoArrivals(t *testing.T) {
	r, err := ReadJSON(strings.NewReader(`{"format_version": 1, "runs": [{"setting": "8", "total": 3, "completed": 1}]}`))
	if err != nil || r.Runs[0].Dropped() != 0 {
		t.Error(err)
	}
}

// A warm-up in an open loop leaves each repeat another number of requests.
func TestRepeatsOfDifferentNumbersOfRequestsCompare(t *testing.T) {
	few, many := offered().Runs[0], offered().Runs[0]
	few.Total, few.Completed, few.Failed, few.Arrivals = 80, 80, 0, nil
	many.Total, many.Completed, many.Failed, many.Arrivals = 100, 99, 1, nil
	if cells := newCells([]Run{few, many}); len(cells) != 1 || len(cells[0].runs) != 2 {
		t.Errorf("%+v", cells)
	}
}

// In an open loop the throughput is what was offered.
func TestAnOpenLoopRanksNothingByThroughput(t *testing.T) {
	r := offered()
	for _, p := range r.settled().phases() {
		for _, c := range p.cells {
			if c.rank != 0 || c.rankText() != "–" {
				t.Errorf("%s has rank %d", c.setting, c.rank)
			}
		}
	}
	var page strings.Builder
	if err := WriteMarkdown(&page, r, phrase.English); err != nil || strings.Contains(page.String(), "Improvement against") || strings.Contains(page.String(), "saturat") {
		t.Errorf("error %v\n%s", err, &page)
	}
}
