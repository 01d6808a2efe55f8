package batcher

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// busy keeps so many callers asking until the time is over.
func busy(t *testing.T, b *Batcher[int, int], callers int, during time.Duration) {
	var wg sync.WaitGroup
	end := time.Now().Add(during)
	for range callers {
		wg.Go(func() {
			for time.Now().Before(end) {
				if _, _, err := b.Submit(t.Context(), Request[int]{Tokens: 100}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func auto(t *testing.T, dispatch Dispatch[int, int]) *Batcher[int, int] {
	t.Helper()
	s := DefaultSettings()
	s.Mode = ModeAuto
	b, err := New(dispatch, s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func answerAll(b *Batch[int, int]) {
	for i := range b.Len() {
		b.Answer(i, 0, Usage{PromptTokens: 100})
	}
}

// A far away server answers each batch after the same time, however many it has.
func TestAutoFindsThatMoreInFlightDoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := auto(t, func(_ context.Context, batch *Batch[int, int]) error {
			time.Sleep(100 * time.Millisecond)
			answerAll(batch)
			return nil
		})
		defer b.Close()
		b.SetServer(Server{ForwardTokens: 200}) // batches of 16, or the first two would carry everybody
		busy(t, b, 400, 5*time.Minute)
		if p := b.Stats().Plan; p.MaxInFlight < 5 {
			t.Errorf("%d in flight: %s", p.MaxInFlight, p.Why)
		}
	})
}

// A server that serves one batch after the other gains nothing by a third.
func TestAutoLeavesWhatDoesNotHelp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := make(chan struct{}, 1)
		b := auto(t, func(_ context.Context, batch *Batch[int, int]) error {
			one <- struct{}{}
			defer func() { <-one }()
			time.Sleep(20*time.Millisecond + time.Duration(batch.Len())*5*time.Millisecond)
			answerAll(batch)
			return nil
		})
		defer b.Close()
		busy(t, b, 100, 5*time.Minute)
		if p := b.Stats().Plan; p.MaxInFlight > autoInFlight {
			t.Errorf("%d in flight: %s", p.MaxInFlight, p.Why)
		}
	})
}

func TestAutoSendsALoneRequestAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := auto(t, func(_ context.Context, batch *Batch[int, int]) error {
			time.Sleep(50 * time.Millisecond)
			answerAll(batch)
			return nil
		})
		defer b.Close()
		for range 50 {
			if _, receipt, err := b.Submit(t.Context(), Request[int]{Tokens: 100}); err != nil || receipt.QueueWait != 0 {
				t.Fatalf("waited %v, %v", receipt.QueueWait, err)
			}
		}
	})
}
