package sweep

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"paceline/loadgen/report"
	"paceline/loadgen/stats"
)

// paper is a Runner that measures nothing: it notes what it was asked for.
type paper struct {
	passes     []Pass
	throughput func(Pass) float64
	fail       int // the number of the call that fails; 0: none
}

var errPaper = errors.New("torn")

func (r *paper) Measure(_ context.Context, p Pass) (*report.Run, []report.Request, error) {
	r.passes = append(r.passes, p)
	throughput := 100.0
	if r.throughput != nil {
		throughput = r.throughput(p)
	}
	run := &report.Run{
		Setting: p.Setting.Name(), Mode: string(p.Setting.Mode), Phase: string(p.Phase), Repeat: p.Repeat,
		Total: 1, Completed: 1, Complete: true, WallSeconds: 1 / throughput, RequestThroughput: throughput,
	}
	if r.fail == len(r.passes) {
		run.Interrupted, run.Complete = true, false
		return run, nil, errPaper
	}
	return run, []report.Request{{Setting: run.Setting}}, nil
}

func keepAll(report.Run, []report.Request) error { return nil }

// names are what was measured, in order.
func names(runs []report.Run) (all []string) {
	for _, r := range runs {
		all = append(all, fmt.Sprintf("%s %s %d", r.Setting, r.Phase, r.Repeat))
	}
	return all
}

func small(repeats int) Plan {
	return Plan{
		Settings: append(Multiply([]int{1, 4}, []int{1, 2}, []time.Duration{0}, []Order{FIFO}), Setting{Mode: ModeUnbatched}),
		Repeats:  repeats, Concurrency: 1, Timeout: time.Second, Seed: 3,
	}
}

func TestASettingsNameSaysOnlyWhatVaries(t *testing.T) {
	name := func(s []Setting) string { return s[len(s)-1].Name() }
	waits, orders := []time.Duration{0, 5 * time.Millisecond}, []Order{FIFO, Prefix}
	for want, got := range map[string][]Setting{
		"16":                           Multiply([]int{1, 16}, []int{2}, waits[:1], orders[:1]),
		"16, 4 in flight":              Multiply([]int{1, 16}, []int{2, 4}, waits[:1], orders[:1]),
		"16, 5ms":                      Multiply([]int{1, 16}, []int{2, 2}, waits, orders[:1]),
		"16, 4 in flight, 5ms, prefix": Multiply([]int{1, 16, 1}, []int{2, 4}, waits, orders),
		"16, prefix":                   Multiply([]int{16}, []int{2}, waits[:1], orders),
	} {
		if name(got) != want {
			t.Errorf("%q, want %q", name(got), want)
		}
	}
	all := Multiply([]int{1, 16, 1}, []int{2, 4}, waits, orders)
	seen := map[string]bool{}
	for _, s := range all {
		seen[s.Name()] = true
	}
	if len(all) != 16 || len(seen) != 16 {
		t.Errorf("%d settings with %d names, want 16", len(all), len(seen))
	}
}

func TestTheWholePlanIsMeasuredColdBeforeWarm(t *testing.T) {
	runner := new(paper)
	plan := small(3)
	runs, err := Schedule{Plan: plan, Runner: runner, Measured: keepAll}.Run(t.Context())
	if err != nil || len(runs) != plan.Passes() {
		t.Fatalf("%d runs, want %d: %v", len(runs), plan.Passes(), err)
	}
	for i := 0; i < len(runs); i += 2 {
		if runs[i].Phase != "cold" || runs[i+1].Phase != "warm" || runs[i].Setting != runs[i+1].Setting {
			t.Errorf("%v", names(runs[i:i+2]))
		}
		if runner.passes[i].Number != i+1 || runner.passes[i].Of != plan.Passes() {
			t.Errorf("pass %d is called %d of %d", i+1, runner.passes[i].Number, runner.passes[i].Of)
		}
	}
}

func TestWarmAloneIsFilledUnmeasured(t *testing.T) {
	runner := new(paper)
	plan := small(1)
	plan.Phases = []Phase{Warm}
	runs, err := Schedule{Plan: plan, Runner: runner, Measured: keepAll}.Run(t.Context())
	if err != nil || len(runs) != 5 || len(runner.passes) != 10 {
		t.Fatalf("%d runs of %d passes: %v", len(runs), len(runner.passes), err)
	}
	for i, p := range runner.passes {
		if filling := i%2 == 0; (p.Phase == Cold) != filling {
			t.Errorf("pass %d: %+v", i, p)
		}
	}
}

// TestASweepThatIsCutAnywhereAndResumedMeasuresTheSame cuts at any pass, any number of
// times.
func TestASweepThatIsCutAnywhereAndResumedMeasuresTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plan := small(rapid.IntRange(1, 3).Draw(t, "repeats"))
		plan.Seed = rapid.Uint64().Draw(t, "seed")
		if rapid.Bool().Draw(t, "cold alone") {
			plan.Phases = []Phase{Cold}
		}
		whole, _ := Schedule{Plan: plan, Runner: new(paper), Measured: keepAll}.Run(context.Background())
		var journal []report.Run
		for range 50 {
			runner := &paper{fail: rapid.IntRange(0, 6).Draw(t, "cut")}
			kept := plan.WholeCells(journal)
			runs, err := Schedule{Plan: plan, Runner: runner, Kept: kept, Measured: func(r report.Run, _ []report.Request) error {
				journal = append(journal, r)
				return nil
			}}.Run(context.Background())
			for _, p := range runner.passes {
				if slices.ContainsFunc(kept, func(r report.Run) bool {
					return r.Setting == p.Setting.Name() && r.Repeat == p.Repeat
				}) {
					t.Fatalf("%v was measured though it was kept", p)
				}
			}
			if err == nil {
				if !slices.Equal(names(runs), names(whole)) {
					t.Fatalf("resumed: %v\nwhole: %v", names(runs), names(whole))
				}
				return
			}
			if !errors.Is(err, errPaper) || !runs[len(runs)-1].Interrupted {
				t.Fatal(err)
			}
		}
	})
}

func TestARunThatCannotBeKeptEndsTheSweep(t *testing.T) {
	full := errors.New("no space left on device")
	refuse := func(report.Run, []report.Request) error { return full }
	runs, err := Schedule{Plan: small(1), Runner: new(paper), Measured: refuse}.Run(t.Context())
	if !errors.Is(err, full) || len(runs) != 1 {
		t.Errorf("%d runs, %v", len(runs), err)
	}
}

func TestRepeatsEndOnceTheIntervalIsNarrowAndNotBefore(t *testing.T) {
	plan := small(20)
	plan.StopWhen = 0.02
	runner := &paper{throughput: func(p Pass) float64 {
		switch p.Setting.Name() {
		case "1, 1 in flight": // never the same twice
			return 100 + 20*float64(p.Repeat%3)
		case "unbatched": // only its warm runs differ
			if p.Phase == Warm {
				return 100 + 20*float64(p.Repeat%3)
			}
		}
		return 100
	}}
	runs, err := Schedule{Plan: plan, Runner: runner, Measured: keepAll}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	last := map[string]int{}
	for _, r := range runs {
		last[r.Setting] = max(last[r.Setting], r.Repeat)
	}
	for name, n := range map[string]int{
		"1, 1 in flight": 20, "unbatched": 20, "4, 2 in flight": stats.MinForInterval, "4, 1 in flight": stats.MinForInterval,
	} {
		if last[name] != n {
			t.Errorf("%s ended after %d repeats, want %d", name, last[name], n)
		}
	}
	kept := plan.WholeCells(runs)
	again, err := Schedule{Plan: plan, Runner: &paper{fail: 1}, Kept: kept, Measured: keepAll}.Run(t.Context())
	if err != nil || !slices.Equal(names(again), names(runs)) {
		t.Errorf("a finished sweep goes on when it is resumed: %v", err)
	}
}

// TestWhatStoppingEarlyDoesToAnInterval measures the bias that enough tells of: the
// share of settings whose final 95 % interval holds the true throughput. The samples
// are the same at each run.
func TestWhatStoppingEarlyDoesToAnInterval(t *testing.T) {
	const truth, noise, maxRepeats, tries = 100.0, 0.03, 20, 60
	holds := func(share float64) (held float64, repeats float64) {
		rng := rand.New(rand.NewPCG(1, 1))
		for range tries {
			var sample []float64
			for len(sample) < maxRepeats && !(share > 0 && narrow(sample, share)) {
				sample = append(sample, truth*(1+noise*rng.NormFloat64()))
			}
			if low, high, _ := stats.MedianInterval(sample, 0.95); low <= truth && truth <= high {
				held += 1.0 / tries
			}
			repeats += float64(len(sample)) / tries
		}
		return held, repeats
	}
	always, all := holds(0)
	early, fewer := holds(0.02)
	t.Logf("all %.0f repeats: %.2f; ended early, after %.1f: %.2f", all, always, fewer, early)
	if always < 0.90 || early < 0.80 || early > always || fewer > 0.8*maxRepeats {
		t.Error("ending early costs more than the comment of enough says, or saves nothing")
	}
}

func TestAPlanNamesTheFlagThatIsWrong(t *testing.T) {
	for want, change := range map[string]func(*Plan){
		"-stop-when: must be a share":   func(p *Plan) { p.StopWhen = 1 },
		"-stop-when: an interval needs": func(p *Plan) { p.StopWhen, p.Repeats = 0.1, 4 },
		"-phases: must name":            func(p *Plan) { p.Phases = []Phase{"hot"} },
		"-phases: names cold twice":     func(p *Plan) { p.Phases = []Phase{Cold, Cold} },
		"-order: must be":               func(p *Plan) { p.Settings[0].Order = "lifo" },
		"-max-in-flight: must be":       func(p *Plan) { p.Settings[0].MaxInFlight = 0 },
		"-max-wait: must be":            func(p *Plan) { p.Settings[0].MaxWait = -1 },
		"-sizes: a batch size must be":  func(p *Plan) { p.Settings[0].BatchSize = 0 },
	} {
		plan := small(3)
		if err := plan.Validate(); err != nil {
			t.Fatal(err)
		}
		change(&plan)
		if err := plan.Validate(); err == nil || len(err.Error()) < len(want) || err.Error()[:len(want)] != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// restless is a Runner on a machine that disturbs the first passes.
type restless struct {
	paper
	disturbed int
}

func (r *restless) Measure(ctx context.Context, p Pass) (*report.Run, []report.Request, error) {
	run, requests, err := r.paper.Measure(ctx, p)
	run.Latency.Count, run.Latency.P50 = 1, 0.1
	if len(r.passes) <= r.disturbed {
		run.SchedulerWait = &report.SchedulerWait{P99: 1}
	}
	return run, requests, err
}

func TestWhatTheMachineDisturbedIsMeasuredAgain(t *testing.T) {
	for _, disturbed := range []int{0, 1, 3, 1000} {
		plan := small(2)
		runner := &restless{disturbed: disturbed}
		runs, err := Schedule{Plan: plan, Runner: runner, Measured: keepAll}.Run(t.Context())
		if err != nil || len(runs) != plan.Passes() {
			t.Fatalf("%d runs of %d, %v", len(runs), plan.Passes(), err)
		}
		left := 0
		for _, r := range runs {
			if r.Disturbed() {
				left++
			}
		}
		most := plan.Passes() * (1 + moreTries)
		again := len(runner.passes) - plan.Passes()
		switch {
		case disturbed == 1000 && (left != len(runs) || len(runner.passes) != most):
			t.Errorf("always disturbed: %d of %d runs left so, after %d passes", left, len(runs), len(runner.passes))
		case disturbed < 1000 && (left != 0 || again != (disturbed+1)/2*2): // a cell is a cold and a warm pass
			t.Errorf("%d disturbed: %d left so, %d passes more", disturbed, left, again)
		}
	}
}
