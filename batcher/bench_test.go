package batcher

import (
	"context"
	"fmt"
	"sync"
	"testing"
)

// BenchmarkSubmitToAnswer is one request's whole way with an upstream that
// answers at once: the batcher's own cost.
func BenchmarkSubmitToAnswer(b *testing.B) {
	instant := func(_ context.Context, batch *Batch[int, int]) error {
		for i := range batch.Len() {
			batch.Answer(i, 0, Usage{})
		}
		return nil
	}
	for _, size := range []int{1, 4, 16, 64, 512} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			s := DefaultSettings()
			s.BatchSize, s.MaxWait = size, 0
			batcher, err := New(instant, s)
			if err != nil {
				b.Fatal(err)
			}
			defer batcher.Close()
			const callers = 1024
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for c := range callers {
				n := b.N / callers
				if c < b.N%callers {
					n++
				}
				wg.Go(func() {
					for range n {
						if _, _, err := batcher.Submit(context.Background(), Request[int]{}); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			st := batcher.Stats()
			var batches uint64
			for _, r := range st.Releases {
				batches += r.Batches
			}
			b.ReportMetric(float64(st.Answered)/float64(batches), "requests/batch")
		})
	}
}
