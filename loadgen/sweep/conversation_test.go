package sweep

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"paceline/loadgen/target"
)

// talk is two conversations of three and two turns, with pauses of 2 s of the report.
func talk() []target.Prompt {
	return []target.Prompt{
		{ID: "a1"}, {ID: "a2", Follows: true, Pause: time.Second}, {ID: "a3", Follows: true, Pause: time.Second},
		{ID: "b1"}, {ID: "b2", Follows: true},
	}
}

func TestATurnWaitsForTheAnswerBeforeItAndForItsPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		samples, wall := pass(t.Context(), &server{takes: time.Second}, talk(), closed(2, time.Minute), new(RunProgress))
		for i, want := range []time.Duration{0, 2 * time.Second, 4 * time.Second, 0, time.Second} {
			if at := samples[i].at.Sub(began); at != want || samples[i].err != nil {
				t.Errorf("turn %d was sent after %v, want %v: %v", i, at, want, samples[i].err)
			}
		}
		if wall != 5*time.Second {
			t.Errorf("took %v", wall)
		}
	})
}

func TestATurnThatFailsEndsItsConversationAndNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		s := &server{takes: time.Second, fail: func(id string) error {
			if id == "a2" {
				return broken
			}
			return nil
		}}
		samples, wall := pass(t.Context(), s, talk(), closed(1, time.Minute), new(RunProgress))
		run := measurement{
			setting: Setting{Mode: ModeFixed, BatchSize: 2}, phase: Cold, repeat: 1,
			prompts: talk(), samples: samples, wall: wall,
		}.report()
		if s.seen["a3"] != 0 || run.Completed != 3 || run.Failed != 2 || run.Errors["Unknown"] != 1 ||
			run.Errors["a turn before it failed"] != 1 {
			t.Errorf("%+v, sent %v", run, s.seen)
		}
	})
}

func TestTheWarmUpSendsFirstTurnsOnly(t *testing.T) {
	few := warmUp(talk())
	if len(few) != 2 || few[0].ID != "a1" || few[1].ID != "b1" {
		t.Errorf("%+v", few)
	}
}
