package batcher

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// sendFunc is a Sender.
type sendFunc[Q, R any] func(ctx context.Context, b *Batch[Q, R]) []Result[R]

func (f sendFunc[Q, R]) Send(ctx context.Context, b *Batch[Q, R]) []Result[R] { return f(ctx, b) }

// failed is an error for every member.
func failed[Q, R any](b *Batch[Q, R], err error) []Result[R] {
	results := make([]Result[R], b.Size)
	for i := range results {
		results[i].Err = err
	}
	return results
}

// upstream is a Sender for tests: it takes a fixed time for each batch and
// answers every member with its own value.
type upstream struct {
	takes  time.Duration
	mu     sync.Mutex
	seen   [][]int // the values of each batch, in order of release
	now    int     // batches at work
	maxNow int     // max batches at once
}

func (u *upstream) Send(ctx context.Context, b *Batch[int, int]) []Result[int] {
	values := make([]int, b.Size)
	for i := range values {
		values[i] = b.Value(i)
	}
	u.mu.Lock()
	u.seen = append(u.seen, values)
	u.now++
	u.maxNow = max(u.maxNow, u.now)
	u.mu.Unlock()
	defer func() { u.mu.Lock(); u.now--; u.mu.Unlock() }()

	select {
	case <-time.After(u.takes):
	case <-ctx.Done():
		return failed(b, ctx.Err())
	}
	results := make([]Result[int], len(values))
	for i, v := range values {
		results[i].Value = v
	}
	return results
}

func settings(size int, wait time.Duration, inFlight int) Settings {
	s := DefaultSettings()
	s.BatchSize, s.MaxWait, s.MaxInFlight = size, wait, inFlight
	return s
}

func newBatcher(t *testing.T, sender Sender[int, int], s Settings) *Batcher[int, int] {
	t.Helper()
	b, err := New(sender, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

type outcome struct {
	value   int
	receipt Receipt
	err     error
	took    time.Duration
}

// submit submits value on its own goroutine and waits until it is in the queue.
func submit(ctx context.Context, b *Batcher[int, int], value int) <-chan outcome {
	out := make(chan outcome, 1)
	start := time.Now()
	go func() {
		v, r, err := b.Submit(ctx, Item[int]{Value: value, Bytes: 10})
		out <- outcome{v, r, err, time.Since(start)}
	}()
	synctest.Wait()
	return out
}

func wantConserved(t *testing.T, s Stats) {
	t.Helper()
	if s.Accepted != s.Answered+s.Failed+s.Cancelled+uint64(s.Queued)+uint64(s.InFlightRequests) {
		t.Errorf("requests were lost or counted twice: %+v", s)
	}
}

func TestFullBatchIsReleasedAtOnceAndEveryCallerGetsItsOwnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{takes: time.Second}
		b := newBatcher(t, u, settings(3, time.Minute, 1))
		var outs []<-chan outcome
		for v := range 3 {
			outs = append(outs, submit(t.Context(), b, v))
		}
		for v, out := range outs {
			o := <-out
			want := Receipt{BatchID: 1, Size: 3, Position: v, Reason: ReasonFull}
			if o.err != nil || o.value != v || o.receipt != want || o.took != time.Second {
				t.Errorf("request %d: got %+v, want receipt %+v", v, o, want)
			}
		}
		wantConserved(t, b.Stats())
	})
}

func TestPartialBatchIsReleasedExactlyWhenItsOldestHasWaitedMaxWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatcher(t, &upstream{}, settings(8, 5*time.Millisecond, 1))
		first := submit(t.Context(), b, 1)
		time.Sleep(3 * time.Millisecond)
		second := submit(t.Context(), b, 2)
		a, c := <-first, <-second
		if a.took != 5*time.Millisecond || a.receipt.Reason != ReasonWait || a.receipt.QueueWait != 5*time.Millisecond {
			t.Errorf("first: %+v", a)
		}
		if c.took != 2*time.Millisecond || c.receipt.Size != 2 || c.receipt.QueueWait != 2*time.Millisecond {
			t.Errorf("second: %+v", c)
		}
	})
}

func TestWithoutAWindowRequestsCollectOnlyWhileSlotsAreTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{takes: time.Second}
		b := newBatcher(t, u, settings(8, 0, 1))
		var outs []<-chan outcome
		for v := range 4 {
			outs = append(outs, submit(t.Context(), b, v))
		}
		for _, out := range outs {
			<-out
		}
		if len(u.seen) != 2 || len(u.seen[0]) != 1 || len(u.seen[1]) != 3 {
			t.Errorf("batches %v, want the first alone and the rest together", u.seen)
		}
	})
}

func TestMaxInFlightIsNeverExceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{takes: time.Second}
		b := newBatcher(t, u, settings(2, 0, 3))
		var outs []<-chan outcome
		for v := range 40 {
			outs = append(outs, submit(t.Context(), b, v))
		}
		for _, out := range outs {
			<-out
		}
		if u.maxNow != 3 {
			t.Errorf("%d batches were in flight at once, want 3", u.maxNow)
		}
	})
}

func TestUnbatchedSendsEachAloneWithoutWaitingOrCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := settings(16, time.Minute, 1)
		s.Mode = ModeUnbatched
		u := &upstream{takes: time.Second}
		b := newBatcher(t, u, s)
		var outs []<-chan outcome
		for v := range 50 {
			outs = append(outs, submit(t.Context(), b, v))
		}
		for _, out := range outs {
			if o := <-out; o.took != time.Second || o.receipt.Size != 1 || o.receipt.Reason != ReasonUnbatched {
				t.Errorf("got %+v", o)
			}
		}
		if u.maxNow != 50 {
			t.Errorf("%d at once, want all 50", u.maxNow)
		}
	})
}

func TestRequestsOfDifferentKeysNeverShareABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mixed int
		b := newBatcher(t, sendFunc[int, int](func(_ context.Context, batch *Batch[int, int]) []Result[int] {
			for i := range batch.Size {
				if batch.Value(i)%3 != batch.Value(0)%3 {
					mixed++
				}
				batch.Answer(i, Result[int]{Value: 0})
			}
			return nil
		}), settings(4, time.Millisecond, 1))
		var wg sync.WaitGroup
		for v := range 30 {
			wg.Go(func() {
				_, _, err := b.Submit(t.Context(), Item[int]{Value: v, Key: string(rune('a' + v%3))})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if mixed > 0 {
			t.Errorf("%d requests travelled with another key", mixed)
		}
	})
}

func TestRoomIsForAllItemsTogetherOrForNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := settings(1, time.Minute, 1)
		s.QueueRequests, s.QueueBytes = 3, 25
		b := newBatcher(t, &upstream{takes: time.Second}, s)
		running, waiting := submit(t.Context(), b, 0), submit(t.Context(), b, 1)
		synctest.Wait()
		for _, c := range []struct {
			n     int
			bytes int64
			bound string
		}{{2, 15, ""}, {3, 3, "queue_requests"}, {2, 16, "queue_bytes"}} {
			var full *FullError
			if err := b.Room(c.n, c.bytes); err != nil != (c.bound != "") || errors.As(err, &full) && full.Bound != c.bound {
				t.Errorf("%+v: %v", c, err)
			}
		}
		<-running
		<-waiting
	})
}

func TestReservedBytesAndWaitingOnesTogetherAreAtMostQueueBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := settings(1, time.Minute, 1)
		s.QueueBytes = 80
		b := newBatcher(t, &upstream{takes: time.Second}, s)
		running, waiting := submit(t.Context(), b, 0), submit(t.Context(), b, 1) // 10 bytes wait
		synctest.Wait()
		var full *FullError
		if b.Reserve(60) != nil || !errors.As(b.Reserve(1), &full) || full.Bound != "queue_bytes" {
			t.Error("an eighth is not left to prompts")
		}
		if b.Room(1, 9) != nil || !errors.As(b.Room(1, 10), &full) {
			t.Error("reserved bytes are not counted")
		}
		_ = b.Reserve(-61)
		<-running
		<-waiting
	})
}

func TestQueueBoundsRefuseAtOnceAndLoseNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := settings(1, time.Minute, 1)
		s.QueueRequests, s.QueueBytes = 3, 25
		u := &upstream{takes: time.Second}
		b := newBatcher(t, u, s)
		running := submit(t.Context(), b, 0)
		second, third := submit(t.Context(), b, 1), submit(t.Context(), b, 2)

		var full *FullError
		if o := <-submit(t.Context(), b, 3); !errors.As(o.err, &full) || full.Bound != "queue_bytes" || o.took != 0 {
			t.Errorf("bytes: got %+v", o)
		}
		s.QueueBytes = 1000
		s.QueueRequests = 2
		if err := b.SetSettings(s); err != nil {
			t.Fatal(err)
		}
		if o := <-submit(t.Context(), b, 4); !errors.As(o.err, &full) || full.Bound != "queue_requests" || full.Limit != 2 {
			t.Errorf("requests: got %+v", o)
		}
		for _, out := range []<-chan outcome{running, second, third} {
			if o := <-out; o.err != nil {
				t.Errorf("an accepted request was lost: %v", o.err)
			}
		}
		if st := b.Stats(); st.Refused != 2 || st.Accepted != 3 || st.Answered != 3 || st.QueuedBytes != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestRequestWhoseContextEndsInTheQueueIsNeverSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{takes: time.Second}
		b := newBatcher(t, u, settings(1, time.Minute, 1))
		running := submit(t.Context(), b, 0)
		cancelled, cancel := context.WithCancel(t.Context())
		expired, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer stop()
		gone, late, kept := submit(cancelled, b, 1), submit(expired, b, 2), submit(t.Context(), b, 3)
		cancel()
		if o := <-gone; !errors.Is(o.err, context.Canceled) || o.took != 0 || o.receipt != (Receipt{}) {
			t.Errorf("cancelled: %+v", o)
		}
		if o := <-late; !errors.Is(o.err, context.DeadlineExceeded) || o.took != 100*time.Millisecond {
			t.Errorf("expired: %+v", o)
		}
		<-running
		if o := <-kept; o.err != nil {
			t.Error(o.err)
		}
		if !slices.EqualFunc(u.seen, [][]int{{0}, {3}}, slices.Equal) {
			t.Errorf("sent %v, want only 0 and 3", u.seen)
		}
		if st := b.Stats(); st.Cancelled != 2 || st.Answered != 2 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestContextThatHasEndedIsNotAccepted(t *testing.T) {
	b := newBatcher(t, &upstream{}, settings(1, 0, 1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := b.Submit(ctx, Item[int]{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if st := b.Stats(); st.Accepted != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestCallerLeavingInFlightHarmsNoNeighbour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{takes: time.Second}
		b := newBatcher(t, u, settings(2, time.Minute, 1))
		ctx, cancel := context.WithCancel(t.Context())
		leaver, neighbour := submit(ctx, b, 1), submit(t.Context(), b, 2)
		cancel()
		if o := <-leaver; !errors.Is(o.err, context.Canceled) || o.took != 0 || o.receipt.Size != 2 {
			t.Errorf("leaver: %+v", o)
		}
		if o := <-neighbour; o.err != nil || o.value != 2 || o.took != time.Second {
			t.Errorf("neighbour: %+v", o)
		}
		wantConserved(t, b.Stats())
	})
}

func TestSenderLearnsWhichMemberIsGivenUpUntilItHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := make(chan int, 3)
		b := newBatcher(t, sendFunc[int, int](func(_ context.Context, batch *Batch[int, int]) []Result[int] {
			watch := func(i int) (stop func() bool) {
				return context.AfterFunc(batch.Context(i), func() { gone <- batch.Value(i) })
			}
			stops := []func() bool{watch(0), watch(1), watch(2)}
			stops[0]()
			batch.Answer(0, Result[int]{Value: 7})
			time.Sleep(time.Second)
			stops[2]()
			batch.Answer(2, Result[int]{Value: 9})
			return nil
		}), settings(3, time.Minute, 1))
		answered, leaveAnswered := context.WithCancel(t.Context())
		early, leaveEarly := context.WithCancel(t.Context())
		first, second, third := submit(answered, b, 1), submit(early, b, 2), submit(t.Context(), b, 3)
		<-first
		leaveAnswered()
		leaveEarly()
		<-second
		<-third
		synctest.Wait()
		close(gone)
		var told []int
		for v := range gone {
			told = append(told, v)
		}
		if !slices.Equal(told, []int{2}) {
			t.Errorf("told of %v, want of the second alone", told)
		}
	})
}

func TestBatchThatLostAllItsCallersIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{takes: time.Hour}
		b := newBatcher(t, u, settings(2, time.Minute, 1))
		ctx, cancel := context.WithCancel(t.Context())
		first, second := submit(ctx, b, 1), submit(ctx, b, 2)
		cancel()
		<-first
		<-second
		synctest.Wait()
		if st := b.Stats(); st.InFlight != 0 || st.Cancelled != 2 {
			t.Errorf("the slot is still taken: %+v", st)
		}
	})
}

func TestMembersEndEachInItsOwnWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := errors.New("bad item")
		b := newBatcher(t, sendFunc[int, int](func(_ context.Context, batch *Batch[int, int]) []Result[int] {
			batch.Answer(0, Result[int]{Value: 7})
			batch.Answer(0, Result[int]{Value: 8})
			batch.Answer(0, Result[int]{Err: bad})
			batch.Answer(1, Result[int]{Err: bad})
			return nil
		}), settings(3, time.Minute, 1))
		first, second, third := submit(t.Context(), b, 0), submit(t.Context(), b, 1), submit(t.Context(), b, 2)
		if o := <-first; o.value != 7 || o.err != nil {
			t.Errorf("only the first end counts: %+v", o)
		}
		if o := <-second; !errors.Is(o.err, bad) || o.receipt.Position != 1 {
			t.Errorf("second: %+v", o)
		}
		if o := <-third; !errors.Is(o.err, ErrUnanswered) {
			t.Errorf("third: %+v", o)
		}
		if st := b.Stats(); st.Answered != 1 || st.Failed != 2 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestAnswerReachesItsCallerBeforeTheBatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatcher(t, sendFunc[int, int](func(_ context.Context, batch *Batch[int, int]) []Result[int] {
			batch.Answer(0, Result[int]{Value: 1})
			time.Sleep(time.Minute)
			batch.Answer(1, Result[int]{Value: 2})
			return nil
		}), settings(2, time.Minute, 1))
		first, second := submit(t.Context(), b, 0), submit(t.Context(), b, 0)
		if o := <-first; o.took != 0 {
			t.Errorf("waited %v for its neighbour", o.took)
		}
		<-second
	})
}

func TestSettingsTakeHoldOfWhatIsQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatcher(t, &upstream{}, settings(8, time.Minute, 1))
		first, second := submit(t.Context(), b, 1), submit(t.Context(), b, 2)
		if err := b.SetSettings(settings(0, 0, 1)); err == nil {
			t.Error("a bad setting was taken")
		}
		time.Sleep(time.Second)
		if err := b.SetSettings(settings(2, time.Minute, 1)); err != nil {
			t.Fatal(err)
		}
		if o := <-first; o.receipt.Reason != ReasonFull || o.took != time.Second {
			t.Errorf("got %+v", o)
		}
		<-second
	})
}

func TestDrainAnswersEverythingAcceptedAndRefusesTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{takes: time.Second}
		b := newBatcher(t, u, settings(2, time.Minute, 1))
		var outs []<-chan outcome
		for v := range 5 {
			outs = append(outs, submit(t.Context(), b, v))
		}
		start := time.Now()
		if err := b.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("drain took %v, want the three batches' 3s", took)
		}
		for _, out := range outs {
			if o := <-out; o.err != nil {
				t.Errorf("an accepted request was lost: %v", o.err)
			}
		}
		if o := <-submit(t.Context(), b, 9); !errors.Is(o.err, ErrDraining) {
			t.Errorf("got %+v", o)
		}
		if st := b.Stats(); st.Releases[ReasonDrain].Requests != 1 {
			t.Errorf("releases %+v", st.Releases)
		}
		b.Resume()
		again := submit(t.Context(), b, 10)
		if err := b.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if o := <-again; o.err != nil {
			t.Error(o.err)
		}
	})
}

func TestDrainEndsWithItsContextOrByResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatcher(t, &upstream{takes: time.Hour}, settings(1, 0, 1))
		out := submit(t.Context(), b, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		undone := make(chan error, 1)
		go func() { undone <- b.Drain(t.Context()) }()
		synctest.Wait()
		b.Resume()
		if err := <-undone; !errors.Is(err, ErrResumed) {
			t.Errorf("got %v", err)
		}
		if o := <-out; o.err != nil {
			t.Error(o.err)
		}
	})
}

func TestDrainEndsWhenTheLastQueuedCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatcher(t, &upstream{takes: time.Second}, settings(1, time.Minute, 1))
		running := submit(t.Context(), b, 0)
		ctx, cancel := context.WithCancel(t.Context())
		queued := submit(ctx, b, 1)
		drained := make(chan error, 1)
		go func() { drained <- b.Drain(t.Context()) }()
		synctest.Wait()
		cancel()
		<-queued
		<-running
		if err := <-drained; err != nil {
			t.Error(err)
		}
	})
}

func TestCloseEndsEveryRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatcher(t, &upstream{takes: time.Hour}, settings(1, time.Minute, 1))
		running, queued := submit(t.Context(), b, 0), submit(t.Context(), b, 1)
		b.Close()
		for _, out := range []<-chan outcome{running, queued, submit(t.Context(), b, 2)} {
			if o := <-out; !errors.Is(o.err, ErrClosed) {
				t.Errorf("got %+v", o)
			}
		}
		b.Close()
		wantConserved(t, b.Stats())
	})
}

func asSettingError(err error, target **SettingError) bool { return errors.As(err, target) }

// ask submits a request that is equal to others with the same value.
func ask(ctx context.Context, b *Batcher[int, int], value int) <-chan outcome {
	return askAs(ctx, b, value, MergeKey{Hash: uint64(value)})
}

func askAs(ctx context.Context, b *Batcher[int, int], value int, key MergeKey) <-chan outcome {
	out := make(chan outcome, 1)
	start := time.Now()
	go func() {
		v, r, err := b.Submit(ctx, Item[int]{Value: value, MergeKey: key})
		out <- outcome{v, r, err, time.Since(start)}
	}()
	synctest.Wait()
	return out
}

func TestRequestsThatAskForTheSameAreOnePromptAndEachIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{takes: time.Second}
		b := newBatcher(t, u, settings(2, time.Minute, 1))
		outs := []<-chan outcome{ask(t.Context(), b, 7), ask(t.Context(), b, 7), ask(t.Context(), b, 7)}
		time.Sleep(time.Second)
		outs = append(outs, ask(t.Context(), b, 8)) // the second prompt: now the batch is full
		for i, out := range outs {
			o := <-out
			if o.err != nil || o.value != []int{7, 7, 7, 8}[i] || o.receipt.Size != 2 || o.receipt.Reason != ReasonFull {
				t.Errorf("request %d: %+v", i, o)
			}
			if merged := []int{2, 2, 2, 0}[i]; o.receipt.Merged != merged {
				t.Errorf("request %d: merged with %d, want %d", i, o.receipt.Merged, merged)
			}
		}
		if !slices.EqualFunc(u.seen, [][]int{{7, 8}}, slices.Equal) {
			t.Errorf("sent %v", u.seen)
		}
		if st := b.Stats(); st.Accepted != 4 || st.Answered != 4 || st.Merged != 2 || st.QueuedBytes != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestRequestsWhoseMergeKeysDifferInAnythingArePromptsOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{takes: time.Second}
		b := newBatcher(t, u, settings(8, time.Second, 1))
		come := func(ctx context.Context, value int) <-chan outcome {
			return askAs(ctx, b, value, MergeKey{Hash: 1, Text: strconv.Itoa(value)})
		}
		leaving, leave := context.WithCancel(t.Context())
		first, other, gone, again := come(t.Context(), 7), come(t.Context(), 8), come(leaving, 9), come(t.Context(), 7)
		leave()
		if o := <-gone; !errors.Is(o.err, context.Canceled) {
			t.Errorf("who left: %+v", o)
		}
		for want, out := range map[int][]<-chan outcome{7: {first, again}, 8: {other}} {
			for _, o := range out {
				if o := <-o; o.err != nil || o.value != want || o.receipt.Size != 2 || o.receipt.Merged != len(out)-1 {
					t.Errorf("%d: %+v", want, o)
				}
			}
		}
		wantConserved(t, b.Stats())
		if left := len(b.queue.leaders); left != 0 {
			t.Errorf("%d leaders left in the queue", left)
		}
	})
}

func TestMergeKeysAreEqualOnlyInEverything(t *testing.T) {
	keys := []MergeKey{
		{Hash: 1}, {Hash: 2}, {Hash: 1, Options: "a"}, {Hash: 1, Text: "a"}, {Hash: 1, IDs: []int32{1}}, {Hash: 1, IDs: []int32{2}},
		{Hash: 1, IDs: []int32{1, 2}}, {Hash: 1, Options: "a", Text: "a", IDs: []int32{1}},
	}
	for i := range keys {
		for j := range keys {
			if same := keys[i].equal(&keys[j]); same != (i == j) {
				t.Errorf("%+v and %+v: %t", keys[i], keys[j], same)
			}
		}
	}
}

func TestTheFirstOfSeveralMayLeaveAndTheOthersKeepItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{takes: time.Second}
		b := newBatcher(t, u, settings(8, 10*time.Millisecond, 1))
		ctx, cancel := context.WithCancel(t.Context())
		first := ask(ctx, b, 7)
		time.Sleep(4 * time.Millisecond)
		second := ask(t.Context(), b, 7)
		third := ask(t.Context(), b, 7)
		cancel()
		if o := <-first; !errors.Is(o.err, context.Canceled) || o.took != 4*time.Millisecond {
			t.Errorf("first: %+v", o)
		}
		o := <-second
		if o.err != nil || o.took != 6*time.Millisecond+time.Second || o.receipt.QueueWait != 6*time.Millisecond || o.receipt.Merged != 1 {
			t.Errorf("second waited for its own window: %+v", o)
		}
		<-third
		wantConserved(t, b.Stats())
	})
}

func TestAPromptInFlightIsGivenUpOnlyWhenAllWhoAskedHaveGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := make(chan struct{})
		b := newBatcher(t, sendFunc[int, int](func(ctx context.Context, batch *Batch[int, int]) []Result[int] {
			context.AfterFunc(batch.Context(0), func() { close(gone) })
			<-ctx.Done()
			if batch.Context(0).Err() == nil {
				t.Error("its context goes on")
			}
			return failed(batch, ctx.Err())
		}), settings(8, time.Millisecond, 1))
		firstCtx, leaveFirst := context.WithCancel(t.Context())
		secondCtx, leaveSecond := context.WithCancel(t.Context())
		first, second := ask(firstCtx, b, 7), ask(secondCtx, b, 7)
		time.Sleep(time.Second)
		leaveFirst()
		<-first
		synctest.Wait()
		select {
		case <-gone:
			t.Error("given up while one still waits")
		default:
		}
		leaveSecond()
		<-second
		<-gone
		synctest.Wait()
		if st := b.Stats(); st.Cancelled != 2 || st.InFlight != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestARequestThatComesAfterTheReleaseIsAPromptOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{takes: time.Second}
		b := newBatcher(t, u, settings(1, 0, 2))
		first, second := ask(t.Context(), b, 7), ask(t.Context(), b, 7)
		<-first
		<-second
		if len(u.seen) != 2 {
			t.Errorf("sent %v", u.seen)
		}
	})
}

func TestABatchKeepsToItsBudgets(t *testing.T) {
	for budget, change := range map[string]func(*Settings){
		"tokens":                 func(s *Settings) { s.BatchTokens = 100 },
		"forwards of the server": func(s *Settings) { s.ForwardsInFlight = 2 },
	} {
		t.Run(budget, func(t *testing.T) { keepsTo100Tokens(t, change) })
	}
}

func keepsTo100Tokens(t *testing.T, change func(*Settings)) {
	synctest.Test(t, func(t *testing.T) {
		s := settings(16, time.Millisecond, 1)
		change(&s)
		u := &upstream{takes: time.Second}
		b := newBatcher(t, u, s)
		b.SetServer(Server{ForwardTokens: 50})
		var outs []<-chan outcome
		for _, tokens := range []int{500, 40, 40, 40, 10} {
			out := make(chan outcome, 1)
			go func() {
				_, r, err := b.Submit(t.Context(), Item[int]{Value: tokens, Tokens: tokens})
				out <- outcome{receipt: r, err: err}
			}()
			synctest.Wait()
			outs = append(outs, out)
		}
		var reasons []Reason
		for _, out := range outs {
			o := <-out
			if o.err != nil {
				t.Error(o.err)
			}
			reasons = append(reasons, o.receipt.Reason)
		}
		if !slices.EqualFunc(u.seen, [][]int{{500}, {40, 40}, {40, 10}}, slices.Equal) {
			t.Errorf("sent %v: one above the budget goes alone, the others share it", u.seen)
		}
		if !slices.Equal(reasons, []Reason{ReasonBudget, ReasonBudget, ReasonBudget, ReasonWait, ReasonWait}) {
			t.Errorf("reasons %v", reasons)
		}
	})
}

func TestBatchesInFlightKeepToTheForwardsTheyFillTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := settings(2, 0, 8)
		s.ForwardsInFlight = 3
		u := &upstream{takes: time.Second}
		b := newBatcher(t, u, s)
		defer b.Close()
		b.SetServer(Server{ForwardTokens: 40})
		var all sync.WaitGroup
		for range 12 {
			all.Go(func() {
				if _, _, err := b.Submit(t.Context(), Item[int]{Tokens: 30}); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		if n := b.Stats().InFlightRequests; n != 3 {
			t.Errorf("%d prompts of 30 tokens in flight, want 3: a fourth leaves less than a forward of 40 to 120", n)
		}
		all.Wait()
	})
}

// submitFunc is Submit by SubmitFunc.
func (b *Batcher[Q, R]) submitFunc(ctx context.Context, req Item[Q]) (result R, receipt Receipt, err error) {
	ended := make(chan struct{})
	if refused := b.SubmitFunc(ctx, req, func(r R, to Receipt, e error) {
		result, receipt, err = r, to, e
		close(ended) // a second end panics
	}); refused != nil {
		return result, receipt, refused
	}
	<-ended
	return result, receipt, err
}

func TestARequestThatNobodyWaitsForIsAnsweredToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := New(sendFunc[int, int](func(_ context.Context, batch *Batch[int, int]) []Result[int] {
			time.Sleep(time.Second)
			for i := range batch.Size {
				batch.Answer(i, Result[int]{Value: 10 * batch.Value(i)})
			}
			return nil
		}), Settings{BatchSize: 1, MaxInFlight: 1, QueueRequests: 2, QueueBytes: 100, PrefixBlocks: 1, BreakerFailures: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		type end struct {
			result, batch int
			err           error
			after         time.Duration
		}
		began, ends := time.Now(), make([]end, 4)
		submit := func(ctx context.Context, i int) error {
			return b.SubmitFunc(ctx, Item[int]{Value: i}, func(r int, to Receipt, err error) {
				ends[i] = end{r, int(to.BatchID), err, time.Since(began)}
			})
		}
		leaving, leave := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer leave()
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := errors.Join(submit(t.Context(), 1), submit(leaving, 2), submit(t.Context(), 3)); err != nil {
			t.Error(err)
		}
		var full *FullError
		if err := submit(t.Context(), 0); !errors.As(err, &full) {
			t.Errorf("%v, want a refusal", err)
		}
		if err := submit(gone, 0); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		want := []end{{}, {10, 1, nil, time.Second}, {0, 0, context.DeadlineExceeded, 500 * time.Millisecond}, {30, 2, nil, 2 * time.Second}}
		if !slices.Equal(ends, want) {
			t.Errorf("%v, want %v", ends, want)
		}
	})
}
