package batcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"paceline/batcher/prefix"
)

// TestEveryAcceptedRequestEndsExactlyOnce drives a batcher with random
// arrivals, cancellations, deadlines, faults, settings, drains and a close, and
// checks the law of the package and the bounds of every batch.
func TestEveryAcceptedRequestEndsExactlyOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) { inBubble(t, rt, law) })
}

func law(t *rapid.T) {
	var (
		mu       sync.Mutex
		batches  []*sent // every batch sent
		problems []string
	)
	faulty := errors.New("upstream fault")
	sender := sendFunc[int, int](func(ctx context.Context, b *Batch[int, int]) []Result[int] {
		out := &sent{id: b.ID, key: b.Context(0).Value(keyOf{}).(string)}
		mu.Lock()
		batches = append(batches, out)
		for i := range b.Size {
			out.values = append(out.values, b.Value(i))
			if b.Context(i).Value(keyOf{}) != out.key {
				problems = append(problems, fmt.Sprintf("batch %d mixes keys", b.ID))
			}
		}
		mu.Unlock()
		select { // batches of different length, so that they overlap and end out of order
		case <-time.After(time.Duration(b.Value(0)%7) * time.Millisecond):
		case <-ctx.Done():
			return failed(b, ctx.Err())
		}
		for i := range b.Size {
			switch v := b.Value(i); v % 5 {
			case 0: // left for what Send returns
			case 1:
				b.Answer(i, Result[int]{Err: faulty})
			case 2:
				b.Failed()
				if b.Retry(ctx, 1) {
					b.Succeeded()
				}
				b.Answer(i, Result[int]{Value: v, Usage: Usage{PromptTokens: 300, CachedTokens: v % 300}})
			default:
				b.Answer(i, Result[int]{Value: v, Usage: Usage{PromptTokens: 300, CachedTokens: v % 300}})
			}
		}
		return failed(b, faulty)
	})
	s := drawSettings(t)
	b, err := New(sender, s)
	if err != nil {
		t.Fatal(err)
	}

	var (
		wg     sync.WaitGroup
		counts = map[string]uint64{}
	)
	defer func() { // also when rapid ends the run midway
		b.Close()
		wg.Wait()
	}()
	count := func(what string) { mu.Lock(); counts[what]++; mu.Unlock() }
	send := func(req Item[int], timeout time.Duration) {
		v := req.Value
		ctx, cancel := context.WithCancel(context.WithValue(context.Background(), keyOf{}, req.Key))
		if hasDeadline(v) {
			ctx, cancel = context.WithTimeout(ctx, timeout)
		} else {
			defer time.AfterFunc(timeout, cancel).Stop()
		}
		defer cancel()
		submit := b.Submit
		if v%3 == 0 {
			submit = b.submitFunc
		}
		got, receipt, err := submit(ctx, req)
		var (
			full   *FullError
			late   *LateError
			paused *PausedError
		)
		switch {
		case err == nil:
			count("answered")
			if got != v {
				t.Errorf("request %d got the answer of %d", v, got)
			}
		case errors.Is(err, faulty), errors.Is(err, ErrClosed) && receipt.BatchID != 0:
			count("failed")
		case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
			count("cancelled")
		case errors.As(err, &late):
			count("late") // refused, or cancelled in the queue
		case errors.As(err, &full), errors.As(err, &paused), errors.Is(err, ErrDraining), errors.Is(err, ErrClosed):
			count("refused or closed in the queue")
		default:
			t.Errorf("request %d: unexpected %v", v, err)
		}
	}

	n := rapid.IntRange(1, 120).Draw(t, "requests")
	for v := range n {
		key := rapid.SampledFrom([]string{"", "", "a", "b"}).Draw(t, "key")
		timeout := time.Duration(rapid.IntRange(1, 40).Draw(t, "timeout")) * time.Millisecond
		var same MergeKey
		if rapid.IntRange(0, 3).Draw(t, "same") == 0 {
			same = MergeKey{Hash: uint64(v/20) + 1, Options: key} // those of different keys collide
			v = v/20*20 + shared
		}
		req := Item[int]{Value: v, Bytes: v % 90, Tokens: v % 50, Key: key, Priority: len(key), MergeKey: same}
		if req.MergeKey.Hash == 0 && !isPlain(v) {
			req.Prefix = drawPrefix(t, 4)
			req.Bytes += prefix.BlockBytes * len(req.Prefix)
			req.Caller = rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "caller")
		}
		wg.Go(func() { send(req, timeout) })
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
		case 2:
			b.Forget()
			b.SetServer(Server{
				CacheTokens:   prefix.BlockTokens * rapid.IntRange(0, 9).Draw(t, "cache"),
				ForwardTokens: rapid.IntRange(0, 40).Draw(t, "forward"),
			})
		case 3, 4, 5, 6:
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
	if st.Answered != counts["answered"] ||
		st.Failed+st.Refused+st.Cancelled != counts["failed"]+counts["cancelled"]+counts["late"]+counts["refused or closed in the queue"] ||
		counts["late"] == 0 && st.Cancelled != counts["cancelled"] {
		t.Fatalf("callers saw %v, the batcher counted %+v", counts, st)
	}
	if st.Accepted+st.Refused != uint64(n) {
		t.Fatalf("%d requests, %+v", n, st)
	}
	checkEmpty(t, b)
	slices.SortFunc(batches, func(a, b *sent) int { return cmp.Compare(a.id, b.id) })
	last := map[string]int{}
	for _, out := range batches {
		for _, v := range out.values {
			if !isPlain(v) {
				continue // others may go before their turn
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

// isPlain reports whether the request of a value has no deadline, prefix and MergeKey. Such
// requests of one lane are released in order of arrival.
func isPlain(v int) bool { return v%20 != shared && v%3 != 0 && !hasDeadline(v) }

func hasDeadline(v int) bool { return v%4 == 0 }

// drawPrefix draws a prompt of at most the given number of blocks, which shares beginnings
// with others.
func drawPrefix(t *rapid.T, blocks int) prefix.Prefix {
	var p prefix.Prefix
	name := uint64(1)
	for range rapid.IntRange(0, blocks).Draw(t, "blocks") {
		name = 10*name + rapid.SampledFrom([]uint64{0, 0, 0, 1}).Draw(t, "block")
		p = append(p, name)
	}
	return p
}

// checkEmpty checks that only cached blocks are left of requests that have ended.
func checkEmpty(t *rapid.T, b *Batcher[int, int]) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := &b.queue
	if len(q.lanes) != 0 || len(q.leaders) != 0 {
		t.Fatalf("left in the queue: %d lanes, %d leaders", len(q.lanes), len(q.leaders))
	}
	if b.model.Reserved() != 0 || b.model.Cached() > b.settings.PrefixBlocks {
		t.Fatalf("%d blocks are still reserved, %d cached", b.model.Reserved(), b.model.Cached())
	}
	b.model.Forget() // what is not cached only stays while it waits or is in flight
	if left := reflect.ValueOf(b.model).Elem().FieldByName("segments").Len(); left != 0 || b.model.Cached() != 0 {
		t.Fatalf("%d segments are left, %d blocks cached", left, b.model.Cached())
	}
	for name, who := range b.callers.byName {
		if who.present != 0 {
			t.Fatalf("caller %q is still present %d times", name, who.present)
		}
	}
}

// shared is the remainder, modulo 20, of values whose requests share a MergeKey.
const shared = 2

// sent is one batch: its number in order of release, and its members.
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
	s.ForwardsInFlight = rapid.IntRange(0, 3).Draw(t, "forwards_in_flight")
	s.MaxInFlight = rapid.IntRange(1, 3).Draw(t, "max_in_flight")
	s.QueueRequests = rapid.IntRange(1, 30).Draw(t, "queue_requests")
	s.QueueBytes = int64(rapid.IntRange(50, 9000).Draw(t, "queue_bytes"))
	s.Share = rapid.SampledFrom([]Share{ShareAll, SharePrefill, ShareOff}).Draw(t, "share")
	s.PrefixBlocks = rapid.IntRange(1, 20).Draw(t, "prefix_blocks")
	s.MaxAge = time.Duration(rapid.IntRange(0, 30).Draw(t, "max_age")) * time.Millisecond
	s.BreakerFailures = rapid.IntRange(1, 4).Draw(t, "breaker_failures")
	return s
}
