package batcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// TestEveryAcceptedRequestEndsExactlyOnce drives a batcher with random
// arrivals, cancellations, deadlines, faults, settings, drains and a close, and
// checks the law of the package and the bounds of every batch.
func TestEveryAcceptedRequestEndsExactlyOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var failure any // rapid fails and shrinks by panics, which must not end the bubble
		synctest.Test(t, func(*testing.T) {
			defer func() { failure = recover() }()
			law(rt)
		})
		if failure != nil {
			panic(failure)
		}
	})
}

func law(t *rapid.T) {
	var (
		mu       sync.Mutex
		batches  []*sent // every batch dispatched
		problems []string
	)
	faulty := errors.New("upstream fault")
	dispatch := func(ctx context.Context, b *Batch[int, int]) error {
		out := &sent{id: b.ID(), key: b.Context(0).Value(keyOf{}).(string)}
		mu.Lock()
		batches = append(batches, out)
		for i := range b.Len() {
			out.values = append(out.values, b.Value(i))
			if b.Context(i).Value(keyOf{}) != out.key {
				problems = append(problems, fmt.Sprintf("batch %d mixes keys", b.ID()))
			}
		}
		mu.Unlock()
		select { // batches of different length, so that they overlap and end out of order
		case <-time.After(time.Duration(b.Value(0)%7) * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
		for i := range b.Len() {
			switch v := b.Value(i); v % 5 {
			case 0: // left for the error of the batch
			case 1:
				b.Fail(i, faulty)
			default:
				b.Answer(i, v)
			}
		}
		return faulty
	}
	s := drawSettings(t)
	b, err := New(dispatch, s)
	if err != nil {
		t.Fatal(err)
	}

	var (
		wg     sync.WaitGroup
		counts = map[string]uint64{}
	)
	count := func(what string) { mu.Lock(); counts[what]++; mu.Unlock() }
	send := func(v int, key string, same Identity, timeout time.Duration) {
		ctx, cancel := context.WithTimeout(context.WithValue(context.Background(), keyOf{}, key), timeout)
		defer cancel()
		got, receipt, err := b.Submit(ctx, Request[int]{Value: v, Bytes: v % 90, Tokens: v % 50, Key: key, Same: same})
		var full *FullError
		switch {
		case err == nil:
			count("answered")
			if got != v {
				t.Errorf("request %d got the answer of %d", v, got)
			}
		case errors.Is(err, faulty), errors.Is(err, ErrClosed) && receipt.BatchID != 0:
			count("failed")
		case errors.Is(err, context.DeadlineExceeded):
			count("cancelled")
		case errors.As(err, &full), errors.Is(err, ErrDraining), errors.Is(err, ErrClosed):
			count("refused or closed in the queue")
		default:
			t.Errorf("request %d: unexpected %v", v, err)
		}
	}

	n := rapid.IntRange(1, 120).Draw(t, "requests")
	for v := range n {
		key := rapid.SampledFrom([]string{"", "", "a", "b"}).Draw(t, "key")
		timeout := time.Duration(rapid.IntRange(1, 40).Draw(t, "timeout")) * time.Millisecond
		var same Identity
		if rapid.IntRange(0, 3).Draw(t, "same") == 0 {
			same = Identity{uint64(v / 20), uint64(len(key)) << 8}
			same[1] += uint64((key + "-")[0])
			v = v/20*20 + shared
		}
		wg.Go(func() { send(v, key, same, timeout) })
		synctest.Wait()
		switch rapid.IntRange(0, 20).Draw(t, "then") {
		case 0:
			if err := b.SetSettings(drawSettings(t)); err != nil {
				t.Fatal(err)
			}
		case 1:
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Millisecond)
			_ = b.Drain(ctx)
			cancel()
			b.Resume()
		case 2, 3, 4, 5, 6:
			time.Sleep(time.Duration(rapid.IntRange(0, 4000).Draw(t, "pause")) * time.Microsecond)
		}
		if st := b.Stats(); st.Accepted != st.Answered+st.Failed+st.Cancelled+uint64(st.Queued)+uint64(st.InFlightRequests) {
			t.Fatalf("after %d requests the books don't balance: %+v", v+1, st)
		}
	}
	if rapid.Bool().Draw(t, "close") {
		b.Close()
	}
	wg.Wait()
	b.Close()

	st := b.Stats()
	if st.Queued != 0 || st.QueuedBytes != 0 || st.InFlight != 0 || st.InFlightRequests != 0 {
		t.Fatalf("something is left: %+v", st)
	}
	if st.Answered != counts["answered"] || st.Cancelled != counts["cancelled"] ||
		st.Failed+st.Refused != counts["failed"]+counts["refused or closed in the queue"] {
		t.Fatalf("callers saw %v, the batcher counted %+v", counts, st)
	}
	if st.Accepted+st.Refused != uint64(n) {
		t.Fatalf("%d requests, %+v", n, st)
	}
	slices.SortFunc(batches, func(a, b *sent) int { return cmp.Compare(a.id, b.id) })
	last := map[string]int{}
	for _, out := range batches {
		for _, v := range out.values {
			if v%20 == shared {
				continue // several requests have this value
			}
			if before, ok := last[out.key]; ok && v < before {
				t.Errorf("key %q: %d was released before %d, which came first", out.key, before, v)
			}
			last[out.key] = v
		}
	}
	for _, p := range problems {
		t.Error(p)
	}
}

type keyOf struct{}

// shared is the value, of each twenty, that requests of one Identity have.
const shared = 2

// sent is one dispatched batch: its number in order of release, and its members.
type sent struct {
	id     uint64
	key    string
	values []int
}

func drawSettings(t *rapid.T) Settings {
	s := DefaultSettings()
	s.Mode = rapid.SampledFrom([]Mode{ModeFixed, ModeFixed, ModeFixed, ModeUnbatched}).Draw(t, "mode")
	s.BatchSize = rapid.IntRange(1, 9).Draw(t, "batch_size")
	s.MaxWait = time.Duration(rapid.IntRange(0, 6).Draw(t, "max_wait")) * time.Millisecond
	s.BatchTokens = int64(rapid.SampledFrom([]int{0, 0, 60}).Draw(t, "batch_tokens"))
	s.MaxInFlight = rapid.IntRange(1, 3).Draw(t, "max_in_flight")
	s.QueueRequests = rapid.IntRange(1, 30).Draw(t, "queue_requests")
	s.QueueBytes = int64(rapid.IntRange(50, 2000).Draw(t, "queue_bytes"))
	return s
}
