package batcher

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"paceline/batcher/prefix"
)

// BenchmarkSubmitToAnswer measures one request with an upstream that answers at once: the
// batcher's own cost, goroutines included. Contexts and requests are made beforehand.
func BenchmarkSubmitToAnswer(b *testing.B) {
	names := make(prefix.Prefix, 45) // of 2,900 tokens
	for i := range names {
		names[i] = uint64(i) + 1
	}
	long := Item[int]{Prefix: names, Bytes: len(names) * prefix.BlockBytes, Tokens: len(names) * prefix.BlockTokens}
	for _, size := range []int{1, 4, 16, 64, 512} {
		b.Run(fmt.Sprintf("plain/size=%d", size), func(b *testing.B) { submitToAnswer(b, size, Item[int]{}, 0) })
		b.Run(fmt.Sprintf("func/size=%d", size), func(b *testing.B) { submitFuncToAnswer(b, size) })
	}
	for _, size := range []int{1, 16} {
		b.Run(fmt.Sprintf("deadline/size=%d", size), func(b *testing.B) { submitToAnswer(b, size, Item[int]{}, time.Hour) })
		b.Run(fmt.Sprintf("prefix/size=%d", size), func(b *testing.B) { submitToAnswer(b, size, long, 0) })
	}
}

// instantly returns a batcher with an upstream that answers at once. finish ends the
// measurement.
func instantly(b *testing.B, size int) (batcher *Batcher[int, int], finish func()) {
	instant := sendFunc[int, int](func(_ context.Context, batch *Batch[int, int]) []Result[int] {
		results := make([]Result[int], batch.Size)
		for i := range results {
			results[i].Usage = Usage{PromptTokens: 2900, CachedTokens: 2899}
		}
		return results
	})
	s := DefaultSettings()
	s.BatchSize, s.MaxWait, s.QueueBytes = size, time.Millisecond, 1<<40
	batcher, err := New(instant, s)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	return batcher, func() {
		b.StopTimer()
		st := batcher.Stats()
		var batches uint64
		for _, r := range st.Releases {
			batches += r.Batches
		}
		b.ReportMetric(float64(st.Answered)/float64(batches), "requests/batch")
		batcher.Close()
	}
}

// submitFuncToAnswer is submitToAnswer as streams do it: few goroutines, each with many
// requests open.
func submitFuncToAnswer(b *testing.B, size int) {
	batcher, finish := instantly(b, size)
	defer finish()
	const streams, window = 8, 256
	n := (b.N + streams - 1) / streams
	var wg sync.WaitGroup
	for range streams {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			open := make(chan struct{}, window)
			done := func(int, Receipt, error) { <-open }
			for range n {
				open <- struct{}{}
				if err := batcher.SubmitFunc(ctx, Item[int]{}, done); err != nil {
					b.Error(err)
				}
			}
			for range window {
				open <- struct{}{}
			}
		})
	}
	wg.Wait()
}

func submitToAnswer(b *testing.B, size int, r Item[int], deadline time.Duration) {
	batcher, finish := instantly(b, size)
	defer finish()
	const callers = 2048
	n := (b.N + callers - 1) / callers
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			ctx := context.Background()
			if deadline > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, deadline)
				defer cancel()
			}
			for range n {
				if _, _, err := batcher.Submit(ctx, r); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkQueueDepth adds a request to a queue in which many wait, and removes the next.
func BenchmarkQueueDepth(b *testing.B) {
	for _, depth := range []int{10, 1000, 100_000} {
		b.Run(fmt.Sprintf("waiting=%d", depth), func(b *testing.B) {
			q, callers := newQueue[int, int](prefix.NewModel(1)), callers{byName: map[string]*caller{}}
			who := callers.join("", 0)
			for range depth {
				q.push(&pending[int, int]{caller: who}, false)
			}
			last := &pending[int, int]{caller: who}
			b.ReportAllocs()
			for b.Loop() {
				q.push(last, false)
				p := q.lanes[0].next(false, time.Time{})
				q.send(p)
				last = p.items[0]
			}
		})
	}
}
