package server

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "paceline/proto/paceline/v1"
)

// streamed makes batches of n whose answers are streamed.
func streamed(n int) func(*Config) {
	return func(c *Config) {
		c.Upstream.StreamAnswers, c.Settings.BatchSize, c.Settings.MaxWait = true, n, time.Minute
	}
}

// sendEach sends texts one after the other, so that they have their order in the
// batch.
func sendEach(t *testing.T, r *running, texts ...string) (ends []<-chan outcome) {
	t.Helper()
	for i, text := range texts {
		ends = append(ends, r.send(r.context(), &pb.PrefillRequest{Text: text}))
		await(t, "the request waits or goes", func() bool { return r.up.Queue.Stats().Accepted == uint64(i+1) })
	}
	return ends
}

func TestAStreamedBatchAnswersEachAsSoonAsItIsDone(t *testing.T) {
	f := newFake(t)
	last := make(chan struct{})
	f.pace = func(i int) bool {
		if i == 0 {
			<-last // until the other two have been received by their callers
		}
		return true
	}
	r := start(t, f, streamed(3))
	ends := sendEach(t, r, "one", "two", "three")
	for _, i := range []int{1, 2} {
		if o := <-ends[i]; o.err != nil || o.reply.PromptTokens != 1 {
			t.Errorf("member %d: %+v", i, o)
		}
	}
	close(last)
	if o := <-ends[0]; o.err != nil {
		t.Error(o.err)
	}
	r.stop() // all aborts that there will be have been sent
	select {
	case rid := <-f.aborted:
		t.Errorf("%s was aborted, and nobody went before its answer", rid)
	default:
	}
}

func TestAStreamCutInTheMiddleSendsOnlyTheRestAgain(t *testing.T) {
	f := newFake(t)
	var cut atomic.Bool
	f.pace = func(i int) bool { return i > 0 || cut.Swap(true) }
	r := start(t, f, streamed(3))
	for i, end := range sendEach(t, r, "one", "two", "three") {
		if o := <-end; o.err != nil || o.reply.Receipt.Attempts != []uint32{2, 1, 1}[i] {
			t.Errorf("member %d: %+v", i, o)
		}
	}
	if calls := f.seen(); len(calls) != 2 || len(calls[1].Text) != 1 || calls[1].Text[0] != "one" {
		t.Errorf("%+v", calls)
	}
}

func TestOnlyTheBadOfAStreamedListFail(t *testing.T) {
	f := newFake(t)
	f.refusing("poison")
	r := start(t, f, streamed(8))
	var texts []string
	for i := range 8 {
		texts = append(texts, fmt.Sprint([]string{"good ", "poison "}[i/5%2], i))
	}
	for i, end := range sendEach(t, r, texts...) {
		o := <-end
		if bad := i >= 5; (o.err != nil) != bad || bad && status.Code(o.err) != codes.InvalidArgument {
			t.Errorf("member %d: %v", i, o.err)
		}
	}
	if !slices.ContainsFunc(f.seen(), func(c fakeCall) bool { return c.Stream }) {
		t.Error("nothing was streamed")
	}
}
