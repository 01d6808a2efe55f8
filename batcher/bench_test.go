package batcher

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// BenchmarkSubmitToAnswer is one request's whole way with an upstream that
// answers at once: the batcher's own cost, goroutines included. What a caller
// brings (its context, its request) is made beforehand.
func BenchmarkSubmitToAnswer(b *testing.B) {
	prefix := make(Prefix, 45) // of 2,900 tokens
	for i := range prefix {
		prefix[i] = uint64(i) + 1
	}
	long := Request[int]{Prefix: prefix, Bytes: len(prefix) * BlockBytes, Tokens: len(prefix) * BlockTokens}
	for _, size := range []int{1, 4, 16, 64, 512} {
		b.Run(fmt.Sprintf("plain/size=%d", size), func(b *testing.B) { submitToAnswer(b, size, Request[int]{}, 0) })
		b.Run(fmt.Sprintf("func/size=%d", size), func(b *testing.B) { submitFuncToAnswer(b, size) })
	}
	for _, size := range []int{1, 16} {
		b.Run(fmt.Sprintf("deadline/size=%d", size), func(b *testing.B) { submitToAnswer(b, size, Request[int]{}, time.Hour) })
		b.Run(fmt.Sprintf("prefix/size=%d", size), func(b *testing.B) { submitToAnswer(b, size, long, 0) })
	}
}

// instantly is a batcher with an upstream that answers at once. finish ends the
// measurement.
func instantly(b *testing.B, size int) (batcher *Batcher[int, int], finish func()) {
	instant := func(_ context.Context, batch *Batch[int, int]) error {
		for i := range batch.Len() {
			batch.Answer(i, 0, Usage{PromptTokens: 2900, CachedTokens: 2899})
		}
		return nil
	}
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
				if err := batcher.SubmitFunc(ctx, Request[int]{}, done); err != nil {
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

func submitToAnswer(b *testing.B, size int, r Request[int], deadline time.Duration) {
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

// BenchmarkQueueDepth is one request's way through a queue in which many wait:
// in at the end, the next one out.
func BenchmarkQueueDepth(b *testing.B) {
	for _, depth := range []int{10, 1000, 100_000} {
		b.Run(fmt.Sprintf("waiting=%d", depth), func(b *testing.B) {
			q := newQueue(1)
			who := q.callers.come("", 0)
			ring := make([]waiter, depth+1)
			for i := range depth {
				ring[i].caller = who
				q.push(&ring[i], "", 0, false)
			}
			last := &ring[depth]
			last.caller = who
			b.ReportAllocs()
			for b.Loop() {
				q.push(last, "", 0, false)
				last = q.lanes[0].pick()
				q.remove(last)
			}
		})
	}
}

// BenchmarkPrefix is what a prompt of 2,900 tokens costs beside its place in the
// queue: naming its blocks, and walking the tree and the belief with them.
func BenchmarkPrefix(b *testing.B) {
	ids := make([]int32, 2900)
	for i := range ids {
		ids[i] = int32(i * 37 % 1000)
	}
	b.Run("name/ids", func(b *testing.B) {
		for b.Loop() {
			PrefixOfTokens(ids, "")
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(ids)), "ns/token")
	})
	b.Run("name/text", func(b *testing.B) {
		text := strings.Repeat("x = 1; ", 4*2900/7)
		for b.Loop() {
			PrefixOfText(text, "")
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(ids)), "ns/token")
	})
	for _, shared := range []int{0, 19, 45} {
		b.Run(fmt.Sprintf("tree/shared=%d", shared), func(b *testing.B) {
			q := newQueue(1 << 17)
			who := q.callers.come("", 0)
			base := PrefixOfTokens(ids, "")
			w := &waiter{bytes: 4 * len(ids), tokens: len(ids), caller: who}
			fresh := uint64(1 << 40)
			for b.Loop() {
				p := append(Prefix(nil), base...)
				for i := shared; i < len(p); i++ {
					fresh++
					p[i] = fresh
				}
				w.prefix = p
				q.push(w, "", 0, false)
				known, last := w.node.segment.known(), q.belief.fly(w)
				q.remove(q.lanes[0].pick())
				if known < len(p) {
					q.belief.begin(last.at(known))
				}
				q.belief.learn(last, known, q.belief.answers, len(p))
				if known < len(p) {
					q.belief.end(last.at(known))
				}
				q.belief.land(last)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(ids)), "ns/token")
		})
	}
}
