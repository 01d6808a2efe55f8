package sweep

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"paceline/loadgen/report"
	"paceline/loadgen/target"
)

// searchAt searches for the largest rate at a server that a function makes anew for each pass.
func searchAt(t *testing.T, objective string, n int, phase Phase, seed uint64, make func() target.Sender) (runs []report.Run, err error) {
	t.Helper()
	o, err := report.ParseObjective(objective)
	if err != nil {
		t.Fatal(err)
	}
	plan := Plan{
		Settings: []Setting{{Mode: ModeDirect}}, Phases: []Phase{phase}, Repeats: 3, Concurrency: 4, Timeout: time.Hour, Seed: seed,
	}
	measured := 0
	search := Search{
		Sweep: &Sweep{Plan: plan, Prompts: prompts(n)}, Objective: o,
		Measured: func(report.Run, []report.Request) error { measured++; return nil },
		passes: func(ctx context.Context, p Pass, plan Plan, list []target.Prompt) (*report.Run, []report.Request, error) {
			m := measurement{
				setting: p.Setting, phase: p.Phase, repeat: p.Repeat, started: time.Now(), prompts: list, arrival: plan.Arrival,
			}
			m.samples, m.from, m.wall = plan.send(ctx, make(), list, p.Repeat, new(RunProgress))
			run := m.report()
			return &run, m.requests(), nil
		},
	}
	synctest.Test(t, func(t *testing.T) { runs, err = search.Run(t.Context()) })
	if measured != len(runs) {
		t.Errorf("%d runs were told of, %d returned", measured, len(runs))
	}
	return runs, err
}

// A server that takes 10 ms for each prompt, one at a time, is the M/D/1 queue: by theory 99 % of the
// answers come within 50 ms up to 56 a second, and 90 % up to 76 a second.
func TestTheLargestRateIsNearThatOfTheory(t *testing.T) {
	const takes, searches = 10 * time.Millisecond, 40
	for objective, c := range map[string]struct{ share, bound float64 }{
		"p99<50ms": {0.99, 0.05}, "p90<50ms": {0.9, 0.05}, "p99<200ms": {0.99, 0.2}, "p50<30ms": {0.5, 0.03},
	} {
		theory := 0.0
		for busy := 0.01; busy < 1 && waitsAtMost(c.bound-takes.Seconds(), takes.Seconds(), busy) >= c.share; busy += 0.001 {
			theory = busy / takes.Seconds()
		}
		held, passes, low, high := 0, 0, 0.0, 0.0
		for seed := range uint64(searches) {
			runs, err := searchAt(t, objective, 3000, Cold, seed, func() target.Sender { return &oneSlot{takes: takes} })
			if err != nil {
				t.Fatal(err)
			}
			kept, broke := report.Edge(runs, 3)
			if kept <= theory && theory <= broke {
				held++
			}
			passes, low, high = passes+len(runs), low+kept, high+broke
		}
		t.Logf("%s: by theory %.1f a second; %d of %d intervals hold it, on average %.1f to %.1f, after %d passes",
			objective, theory, held, searches, low/searches, high/searches, passes/searches)
		if low /= searches * theory; low < 0.8 || low > 1.03 {
			t.Errorf("%s: the lower end is %.2f of theory", objective, low)
		}
		if high /= searches * theory; high < 1.05 || high > 1.4 {
			t.Errorf("%s: the upper end is %.2f of theory", objective, high)
		}
	}
}

func TestAnObjectiveThatOneCallerBreaksIsBrokenAtOnce(t *testing.T) {
	runs, err := searchAt(t, "p50<10ms", 200, Cold, 1, func() target.Sender { return &oneSlot{takes: 11 * time.Millisecond} })
	if err != nil || len(runs) != 1 || runs[0].Outcome.Kept || runs[0].Rate != 0 {
		t.Errorf("%d runs, %v", len(runs), err)
	}
}

func TestAWarmPassSendsItsPromptsAgainAndAColdOneCannot(t *testing.T) {
	quick := func() target.Sender { return &oneSlot{takes: time.Millisecond} }
	runs, err := searchAt(t, "p50<10ms", 200, Warm, 1, quick)
	kept, broke := report.Edge(runs, 3)
	if err != nil || kept < 500 || broke <= kept {
		t.Errorf("warm: %v to %v, %v", kept, broke, err)
	}
	runs, err = searchAt(t, "p50<10ms", 200, Cold, 1, quick)
	kept, broke = report.Edge(runs, 3)
	if err != nil || kept < 700 || kept > 800 || broke != 0 { // 160 in 0.2 s, and a quarter before
		t.Errorf("cold: %v to %v, %v", kept, broke, err)
	}
	if _, err = searchAt(t, "p99<10ms", 100, Cold, 1, quick); !errors.Is(err, ErrTooFewPrompts) {
		t.Errorf("p99 of 100 prompts: %v", err)
	}
}

func TestARequestWithoutAnAnswerBreaksTheObjective(t *testing.T) {
	sent := 0
	runs, err := searchAt(t, "p90<1s", 500, Cold, 1, func() target.Sender { return failing{&sent} })
	if err != nil || len(runs) != 1 || runs[0].Outcome.Kept || runs[0].Outcome.Within > 0.81 {
		t.Errorf("%+v, %v", runs, err)
	}
}

// failing fails every fifth prompt.
type failing struct{ sent *int }

func (f failing) Send(context.Context, target.Prompt) (target.Answer, error) {
	if *f.sent++; *f.sent%5 == 0 {
		return target.Answer{}, errors.New("no")
	}
	return target.Answer{PromptTokens: 1}, nil
}
