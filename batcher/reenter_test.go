package batcher

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// nosy is a context whose methods call the batcher.
type nosy struct {
	context.Context
	call func()
}

func (n nosy) Deadline() (time.Time, bool) { n.call(); return n.Context.Deadline() }
func (n nosy) Done() <-chan struct{}       { n.call(); return n.Context.Done() }
func (n nosy) Err() error                  { n.call(); return n.Context.Err() }
func (n nosy) Value(key any) any           { n.call(); return n.Context.Value(key) }

// TestCodeOfOthersMayCallTheBatcher makes the Sender, done and the methods of contexts call
// every method of the batcher except those that wait for them (Drain, Close). It hangs if
// one of them runs under the lock. synctest does not detect a blocked mutex, so a watchdog
// on the real clock ends the test.
func TestCodeOfOthersMayCallTheBatcher(t *testing.T) {
	watchdog := time.AfterFunc(time.Minute, func() { panic("code of others runs under the batcher's lock") })
	defer watchdog.Stop()
	synctest.Test(t, func(t *testing.T) {
		var b *Batcher[int, int]
		s := settings(2, time.Millisecond, 8)
		quick := func() {
			b.Stats()
			b.Pending()
			b.SetServer(Server{CacheTokens: 1000, ForwardTokens: 100})
			b.Forget()
			if err := b.SetSettings(b.Settings()); err != nil {
				t.Error(err)
			}
			b.BeginDrain()
			b.Resume()
		}
		ask := func() {
			quick()
			_ = b.SubmitFunc(t.Context(), Item[int]{}, func(int, Receipt, error) { quick() })
			_, _, _ = b.Submit(t.Context(), Item[int]{})
		}
		var nested atomic.Bool // the first level calls, what it causes does not
		sender := sendFunc[int, int](func(ctx context.Context, batch *Batch[int, int]) []Result[int] {
			quick()
			if nested.CompareAndSwap(false, true) {
				ask()
			}
			context.AfterFunc(batch.Context(0), quick)
			batch.Requests(0)
			batch.Attach(1)
			batch.Split()
			batch.Failed()
			batch.Retry(ctx, 1)
			batch.Succeeded()
			time.Sleep(10 * time.Millisecond)
			batch.Answer(0, Result[int]{Value: 1, Usage: Usage{PromptTokens: 100}})
			quick()
			return failed(batch, errTrouble)
		})
		b = newBatcher(t, sender, s)

		var ended, refused atomic.Int64
		done := func(int, Receipt, error) { ask(); ended.Add(1) }
		leaving, leave := context.WithCancel(t.Context())
		expiring, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		for i := range 30 {
			ctx := []context.Context{t.Context(), leaving, expiring}[i%3]
			item := Item[int]{Value: i, MergeKey: MergeKey{Hash: uint64(i / 5)}, Prefix: names("ab")}
			if err := b.SubmitFunc(nosy{ctx, quick}, item, done); err != nil {
				refused.Add(1) // while another drains
			}
			go func() { _, _, _ = b.Submit(nosy{ctx, quick}, item) }()
			if i%7 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		leave()
		time.Sleep(time.Minute)
		if ended.Load()+refused.Load() != 30 || ended.Load() == 0 {
			t.Errorf("%d of 30 requests ended, %d were refused", ended.Load(), refused.Load())
		}
		b.Close()
		wantConserved(t, b.Stats())
	})
}
