package sweep

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"paceline/loadgen/report"
	"paceline/loadgen/target"
)

// offer sends list in an open loop and reports the run.
func offer(t *testing.T, to target.Sender, list []target.Prompt, a Arrival) (report.Run, []sample) {
	t.Helper()
	return offerIn(t.Context(), to, list, a)
}

func offerIn(ctx context.Context, to target.Sender, list []target.Prompt, a Arrival) (report.Run, []sample) {
	began := time.Now()
	samples, from, wall := openPass(ctx, to, list, Plan{Arrival: a, Timeout: time.Hour}, 1, new(RunProgress))
	m := measurement{
		setting: Setting{Mode: ModeFixed, BatchSize: 1}, phase: Cold, repeat: 1, started: began, from: from,
		prompts: list, samples: samples, wall: wall, interrupted: ctx.Err() != nil, arrival: a,
	}
	return m.report(), samples
}

func TestAnOpenLoopWaitsForNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		s := &server{takes: time.Minute}
		run, samples := offer(t, s, prompts(10), open(Constant, 2))
		for i, one := range samples {
			if at := one.at.Sub(began); at != time.Duration(i)*time.Second/2 || one.latency != time.Minute {
				t.Errorf("request %d was sent after %v and took %v", i, at, one.latency)
			}
		}
		if run.WallSeconds != 64.5 || s.peak.Load() != 10 || !run.Complete || run.Arrivals.Late != 0 {
			t.Errorf("%+v, %d at once", run, s.peak.Load())
		}
	})
}

func TestWhatIsDueBeyondTheBoundIsDroppedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := open(Constant, 10)
		a.MaxOutstanding = 2
		s := &server{takes: 950 * time.Millisecond}
		run, samples := offer(t, s, prompts(30), a)
		// Of the ten of each second the first two are sent, and answered before the next.
		if run.Completed != 6 || run.Arrivals.Dropped != 24 || run.Failed != 0 || run.Total != 30 || run.Complete || s.peak.Load() != 2 {
			t.Errorf("%+v, %+v", run, run.Arrivals)
		}
		if samples[1].dropped || !samples[2].dropped || samples[2].sent {
			t.Errorf("%+v", samples[:3])
		}
	})
}

func TestWhereItWaitsInsteadTheWaitIsNobodysSlowness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := open(Constant, 10)
		a.MaxOutstanding, a.WhenFull = 1, Wait
		run, samples := offer(t, &server{takes: time.Second}, prompts(4), a)
		for i, one := range samples { // sent after i s, due after i/10 s
			if want := time.Duration(i) * 900 * time.Millisecond; one.at.Sub(one.intended) != want || one.held != want {
				t.Errorf("request %d: sent %v late, held up for %v, want %v", i, one.at.Sub(one.intended), one.held, want)
			}
		}
		if l := run.Arrivals; l.Late != 3 || l.LateByItself != 0 || l.OwnDelay.Max != 0 || l.SendDelay.Max != 2.7 ||
			l.LatencyFromIntended.Max != 3.7 || run.Latency.Max != 1 {
			t.Errorf("%+v", l)
		}
	})
}

func TestFurtherTurnsOfAnOpenLoopFollowTheirAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, samples := offer(t, &server{takes: 3 * time.Second}, talk(), open(Constant, 1))
		for i, want := range []time.Duration{0, 4 * time.Second, 8 * time.Second, time.Second, 4 * time.Second} {
			if at := samples[i].at.Sub(began); at != want || samples[i].intended != samples[i].at {
				t.Errorf("turn %d was sent after %v, want %v", i, at, want)
			}
		}
	})
}

func TestAllTurnsOfADroppedConversationAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := open(Constant, 1)
		a.MaxOutstanding = 1
		run, _ := offer(t, &server{takes: 3 * time.Second}, talk(), a)
		if run.Completed != 3 || run.Arrivals.Dropped != 2 {
			t.Errorf("%+v", run)
		}
	})
}

func TestAnInterruptedOpenLoopLeavesTheRestUnsent(t *testing.T) {
	for _, w := range []WhenFull{Drop, Wait} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
			defer cancel()
			a := open(Constant, 1)
			a.MaxOutstanding, a.WhenFull = 1, w
			run, _ := offerIn(ctx, &server{takes: time.Minute}, prompts(10), a)
			if want := map[WhenFull]int{Drop: 2}[w]; run.Failed != 1 || run.Completed != 0 || !run.Interrupted ||
				run.Arrivals.Dropped != want {
				t.Errorf("%s: %+v, %+v", w, run, run.Arrivals)
			}
		})
	}
}
