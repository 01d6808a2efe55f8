package batcher

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"paceline/batcher/tune"
)

func auto(t *testing.T, sender Sender[int, int]) *Batcher[int, int] {
	t.Helper()
	s := DefaultSettings()
	s.Mode = ModeAuto
	b, err := New(sender, s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// inTurn is a server that serves one batch after the other.
func inTurn(perCall, perPrompt time.Duration) Sender[int, int] {
	one := make(chan struct{}, 1)
	return sendFunc[int, int](func(_ context.Context, b *Batch[int, int]) []Result[int] {
		one <- struct{}{}
		defer func() { <-one }()
		time.Sleep(perCall + time.Duration(b.Size)*perPrompt)
		results := make([]Result[int], b.Size)
		for i := range results {
			results[i].Usage.PromptTokens = 100
		}
		return results
	})
}

func TestAutoSendsALoneRequestAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := auto(t, inTurn(50*time.Millisecond, 0))
		defer b.Close()
		for range 50 {
			if _, receipt, err := b.Submit(t.Context(), Item[int]{Tokens: 100}); err != nil || receipt.QueueWait != 0 {
				t.Fatalf("waited %v, %v", receipt.QueueWait, err)
			}
		}
	})
}

// A ninth of those who ask is in each batch in flight, and a ninth waits.
func TestAutoSharesABusyServerAmongItsBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := auto(t, inTurn(20*time.Millisecond, 5*time.Millisecond))
		defer b.Close()
		var wg sync.WaitGroup
		end := time.Now().Add(time.Minute)
		for range 180 {
			wg.Go(func() {
				for time.Now().Before(end) {
					if _, _, err := b.Submit(t.Context(), Item[int]{Tokens: 100}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		st := b.Stats()
		if p := st.Plan; p.BatchSize != 20 || p.MaxInFlight != tune.InFlight {
			t.Errorf("%+v", p)
		}
		var batches uint64
		for _, r := range st.Releases {
			batches += r.Batches
		}
		if mean := float64(st.Answered) / float64(batches); mean < 18 {
			t.Errorf("%.1f requests a batch, want about 20", mean)
		}
	})
}
