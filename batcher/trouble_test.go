package batcher

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// learned returns a batcher that has learned that its server takes 10 ms a batch, 5 ms a
// prompt and 1 ms for 10 tokens.
func learned(t *testing.T, change func(*Settings)) *Batcher[int, int] {
	t.Helper()
	s := DefaultSettings()
	s.MaxInFlight = 1
	if change != nil {
		change(&s)
	}
	sender := sendFunc[int, int](func(_ context.Context, b *Batch[int, int]) []Result[int] {
		tokens := 0
		for i := range b.Size {
			tokens += b.Value(i)
		}
		time.Sleep(10*time.Millisecond + time.Duration(b.Size)*5*time.Millisecond + time.Duration(tokens)*100*time.Microsecond)
		for i := range b.Size {
			b.Answer(i, Result[int]{Usage: Usage{PromptTokens: b.Value(i)}})
		}
		return nil
	})
	b, err := New(sender, s)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 30 {
		var wg sync.WaitGroup
		for range 1 + round*5%16 {
			wg.Go(func() {
				_, _, _ = b.Submit(t.Context(), Item[int]{Value: 100 + 37*round%300, Tokens: 100 + 37*round%300})
			})
		}
		wg.Wait()
	}
	return b
}

func TestCostIsLearnedFromReplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := learned(t, nil)
		defer b.Close()
		c := b.Stats().Cost
		near := func(what string, got, want float64) {
			if got < 0.9*want || got > 1.1*want {
				t.Errorf("%s: learned %v, is %v", what, got, want)
			}
		}
		near("a batch", c.PerBatch, 0.010)
		near("a prompt", c.PerRequest, 0.005)
		near("a token", c.PerToken, 0.0001)
		_, receipt, err := b.Submit(t.Context(), Item[int]{Value: 500, Tokens: 500})
		if err != nil || receipt.PredictedUncached != 500 {
			t.Fatalf("%+v, %v", receipt, err)
		}
		near("a prediction", receipt.Predicted.Seconds(), 0.065)
	})
}

func TestNothingIsPredictedBeforeAnythingWasLearned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := serve(t, nil)
		defer b.Close()
		_, receipt, err := b.Submit(t.Context(), promptOf("ab"))
		if err != nil || receipt.Predicted != 0 {
			t.Errorf("predicted %v, %v", receipt.Predicted, err)
		}
	})
}

func TestADeadlineClosesTheBatchBeforeItIsTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := learned(t, func(s *Settings) { s.MaxWait = 10 * time.Second; s.BatchSize = 16 })
		defer b.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, receipt, err := b.Submit(ctx, Item[int]{Value: 500, Tokens: 500})
		if err != nil || receipt.Reason != ReasonDeadline || receipt.QueueWait < 100*time.Millisecond {
			t.Errorf("%v after %v: %v", receipt.Reason, receipt.QueueWait, err)
		}
	})
}

func TestARequestThatCantBeAnsweredInTimeIsRefusedAtOnceAndNeverSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := learned(t, nil)
		defer b.Close()
		before := b.Stats()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, _, err := b.Submit(ctx, Item[int]{Value: 5000, Tokens: 5000}) // takes 515 ms
		var late *LateError
		if !errors.As(err, &late) || late.Left != 50*time.Millisecond || late.Needs < 100*time.Millisecond || time.Since(start) != 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if after := b.Stats(); after.Refused != before.Refused+1 || after.Accepted != before.Accepted {
			t.Errorf("%+v", after)
		}
	})
}

// By the prediction its time ran out while it waited for a slot.
func TestARequestThatBecameTooLateLeavesTheQueueUnsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := learned(t, nil)
		defer b.Close()
		go func() { _, _, _ = b.Submit(t.Context(), Item[int]{Value: 9000, Tokens: 9000}) }() // 915 ms
		time.Sleep(100 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 850*time.Millisecond)
		defer cancel()
		_, receipt, err := b.Submit(ctx, Item[int]{Value: 2000, Tokens: 2000}) // 215 ms, from 915 ms on
		var late *LateError
		if !errors.As(err, &late) || receipt.BatchID != 0 {
			t.Errorf("%+v, %v", receipt, err)
		}
	})
}

// The last of the queue is dropped while the others are put in a batch.
func TestADrainWaitsForTheBatchFromWhichALateRequestWasLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := learned(t, nil)
		defer b.Close()
		s := b.Settings()
		s.MaxAge = 0 // from now on in order of arrival
		if err := b.SetSettings(s); err != nil {
			t.Fatal(err)
		}
		submit := func(ctx context.Context, tokens int) <-chan error {
			end := make(chan error, 1)
			go func() {
				_, _, err := b.Submit(ctx, Item[int]{Value: tokens, Tokens: tokens})
				end <- err
			}()
			time.Sleep(50 * time.Millisecond)
			return end
		}
		ctx, cancel := context.WithTimeout(t.Context(), 950*time.Millisecond)
		defer cancel()
		running, waiting, late := submit(t.Context(), 9000), submit(t.Context(), 2000), submit(ctx, 2000)
		if err := b.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if st := b.Stats(); st.InFlight != 0 || st.InFlightRequests != 0 {
			t.Errorf("drained with %d batches in flight", st.InFlight)
		}
		var tooLate *LateError
		if err := errors.Join(<-running, <-waiting); err != nil || !errors.As(<-late, &tooLate) {
			t.Errorf("%v; %v", err, tooLate)
		}
	})
}

func TestUrgentRequestsGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := learned(t, func(s *Settings) { s.BatchSize = 2 })
		defer b.Close()
		var wg sync.WaitGroup
		send := func(timeout time.Duration, want uint64) {
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			_, receipt, err := b.Submit(ctx, Item[int]{Value: 100, Tokens: 100})
			if err != nil || receipt.BatchID != want {
				t.Errorf("with %v left: batch %d, want %d: %v", timeout, receipt.BatchID, want, err)
			}
		}
		first := uint64(0)
		for _, r := range b.Stats().Releases {
			first += r.Batches
		}
		wg.Go(func() { send(time.Hour, first+1) })
		wg.Go(func() { send(time.Hour, first+1) })
		synctest.Wait() // the slot is taken
		for _, r := range []struct {
			timeout time.Duration
			batch   uint64
		}{{time.Hour, 2}, {time.Hour, 3}, {90 * time.Millisecond, 2}, {time.Hour, 3}} {
			wg.Go(func() { send(r.timeout, first+r.batch) })
			synctest.Wait()
		}
		wg.Wait()
	})
}

// flaky fails a number of calls.
type flaky struct {
	mu    sync.Mutex
	fails int // calls still to fail
	takes time.Duration
	calls []time.Time
}

var errTrouble = errors.New("server trouble")

func (f *flaky) Send(ctx context.Context, b *Batch[int, int]) []Result[int] {
	for attempt := 1; ; attempt++ {
		f.mu.Lock()
		f.calls = append(f.calls, time.Now())
		fails := f.fails > 0
		f.fails--
		f.mu.Unlock()
		time.Sleep(f.takes)
		if !fails {
			b.Succeeded()
			for i := range b.Size {
				b.Answer(i, Result[int]{Value: b.Value(i)})
			}
			return nil
		}
		b.Failed()
		if !b.Retry(ctx, attempt) {
			return failed(b, errTrouble)
		}
	}
}

func troubled(t *testing.T, fails int, change func(*Settings)) (*Batcher[int, int], *flaky) {
	t.Helper()
	f := &flaky{fails: fails}
	s := DefaultSettings()
	if change != nil {
		change(&s)
	}
	b, err := New(f, s)
	if err != nil {
		t.Fatal(err)
	}
	return b, f
}

func TestACallThatTheServerFailedIsRepeatedAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, f := troubled(t, 2, nil)
		defer b.Close()
		got, _, err := b.Submit(t.Context(), Item[int]{Value: 7})
		if got != 7 || err != nil || len(f.calls) != 3 {
			t.Fatalf("%d, %v, %d calls", got, err, len(f.calls))
		}
		first, second := f.calls[1].Sub(f.calls[0]), f.calls[2].Sub(f.calls[1])
		if first < minBackoff/2 || first > minBackoff || second < minBackoff || second > 2*minBackoff {
			t.Errorf("pauses of %v and %v", first, second)
		}
		if st := b.Stats(); st.Retries != 2 || st.Answered != 1 {
			t.Errorf("%+v", st)
		}
	})
}

func TestRepeatsEndWithTheirNumberAndTheirBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, f := troubled(t, 1000, func(s *Settings) { s.BreakerFailures = 1000 })
		defer b.Close()
		if _, _, err := b.Submit(t.Context(), Item[int]{}); !errors.Is(err, errTrouble) || len(f.calls) != 3 {
			t.Errorf("%v after %d calls, want 1 and 2 repeats", err, len(f.calls))
		}
		for range 20 {
			_, _, _ = b.Submit(t.Context(), Item[int]{})
		}
		if want := 21 + maxSaved; len(f.calls) != want {
			t.Errorf("%d calls for 21 requests, want %d: one each and the budget", len(f.calls), want)
		}
	})
}

func TestTheBreakerOpensRefusesTriesAgainAndCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, f := troubled(t, 4, func(s *Settings) { s.Retries, s.BreakerFailures, s.MaxWait, s.MaxInFlight = 0, 3, 0, 4 })
		defer b.Close()
		for range 3 {
			if _, _, err := b.Submit(t.Context(), Item[int]{}); !errors.Is(err, errTrouble) {
				t.Fatal(err)
			}
		}
		_, _, err := b.Submit(t.Context(), Item[int]{})
		var paused *PausedError
		if !errors.As(err, &paused) || paused.For != minPause || len(f.calls) != 3 || !b.Stats().BreakerOpen {
			t.Fatalf("%v after %d calls", err, len(f.calls))
		}
		time.Sleep(minPause)
		if _, _, err := b.Submit(t.Context(), Item[int]{}); !errors.Is(err, errTrouble) { // the probe fails
			t.Fatal(err)
		}
		if _, _, err := b.Submit(t.Context(), Item[int]{}); !errors.As(err, &paused) || paused.For != 2*minPause {
			t.Fatalf("%v, want twice the pause", err)
		}
		time.Sleep(2 * minPause)
		var wg sync.WaitGroup
		for range 9 {
			wg.Go(func() {
				if _, _, err := b.Submit(t.Context(), Item[int]{}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if st := b.Stats(); st.BreakerOpen || st.Answered != 9 {
			t.Errorf("%+v", st)
		}
	})
}

func TestWhatWaitsWhenTheBreakerOpensIsSentWhenItCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, f := troubled(t, 2, func(s *Settings) { s.Retries, s.BreakerFailures, s.MaxInFlight, s.BatchSize = 0, 2, 1, 1 })
		f.takes = 10 * time.Millisecond
		defer b.Close()
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				if _, _, err := b.Submit(t.Context(), Item[int]{}); (err != nil) != (i < 2) {
					t.Errorf("request %d: %v", i, err)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		if len(f.calls) != 4 || f.calls[2].Sub(f.calls[1]) != minPause+f.takes {
			t.Errorf("calls at %v", f.calls)
		}
	})
}
