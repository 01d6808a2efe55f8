package server

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "paceline/proto/paceline/v1"
)

// TestOnlyTheBadOfAListFail sends lists of 16 with some prompts that SGLang rejects, and
// counts the calls to find them.
func TestOnlyTheBadOfAListFail(t *testing.T) {
	for _, c := range []struct {
		bad   []int
		limit int // calls beyond the first
	}{{[]int{11}, 6}, {[]int{3, 12}, 14}, {[]int{0, 2, 3, 5, 8, 9, 13, 15}, 28}} {
		f := newFake(t)
		f.refusing("poison")
		r := start(t, f, func(c *Config) { c.Settings.BatchSize, c.Settings.MaxWait = 16, time.Minute })
		ends := make([]<-chan outcome, 16)
		for i := range ends {
			text := fmt.Sprintf("prompt %d", i)
			if slices.Contains(c.bad, i) {
				text = "poison " + text
			}
			ends[i] = r.send(r.context(), &pb.PrefillRequest{Text: text})
			await(t, "the request waits or goes", func() bool { return r.up.Queue.Stats().Accepted == uint64(i+1) })
		}
		for i, end := range ends {
			o := <-end
			if bad := slices.Contains(c.bad, i); (o.err != nil) != bad || bad && status.Code(o.err) != codes.InvalidArgument {
				t.Errorf("%d bad: member %d: %v", len(c.bad), i, o.err)
			}
		}
		extra := len(f.seen()) - 1
		t.Logf("%d bad of 16: %d extra calls", len(c.bad), extra)
		if extra > c.limit {
			t.Errorf("%d bad of 16: %d extra calls, want at most %d", len(c.bad), extra, c.limit)
		}
	}
}

// SGLang answers a list in one document. A member whose part is too long fails alone.
func TestAnAnswerTooLongToReadFailsItsOwnCallerOnly(t *testing.T) {
	f := newFake(t)
	f.answering("long", http.StatusOK, strings.Repeat(" ", 65<<20))
	r := start(t, f, func(c *Config) { c.Settings.BatchSize, c.Settings.MaxWait = 2, time.Minute })
	good, bad := r.send(r.context(), &pb.PrefillRequest{Text: "short"}), r.send(r.context(), &pb.PrefillRequest{Text: "long"})
	if o := <-good; o.err != nil {
		t.Errorf("the neighbour: %v", o.err)
	}
	if o := <-bad; status.Code(o.err) != codes.ResourceExhausted {
		t.Errorf("the one: %v", o.err)
	}
}

// One prompt makes SGLang fail with 500 whenever it is in the list.
func TestAPromptThatBreaksSGLangFailsAlone(t *testing.T) {
	f := newFake(t)
	f.answering("breaks", http.StatusInternalServerError, "Internal Server Error")
	r := start(t, f, func(c *Config) {
		c.Settings.BatchSize, c.Settings.MaxWait, c.Settings.Retries, c.Settings.BreakerFailures = 4, time.Minute, 0, 100
	})
	var ends []<-chan outcome
	for _, text := range []string{"one", "two", "breaks", "four"} {
		ends = append(ends, r.send(r.context(), &pb.PrefillRequest{Text: text}))
	}
	for i, end := range ends {
		if o := <-end; (o.err != nil) != (i == 2) {
			t.Errorf("member %d: %v", i, o.err)
		}
	}
}

// A prompt that SGLang always answers with 500 says nothing about the prompts of others.
func TestAPromptThatAlwaysGets500LeavesTheBreakerClosed(t *testing.T) {
	f := newFake(t)
	f.answering("breaks", http.StatusInternalServerError, "Internal Server Error")
	r := start(t, f, func(c *Config) { c.Settings.MaxWait = 0 })
	for range 3 * r.up.Queue.Settings().BreakerFailures {
		if _, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "breaks"}); status.Code(err) != codes.Internal {
			t.Fatal(err)
		}
	}
	if _, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "good"}); err != nil {
		t.Errorf("another's prompt: %v", err)
	}
}

// A search that finds prompt after prompt guilty and none good has found a broken server.
func TestAServerThatFailsEveryPromptOfABatchIsNotSearched(t *testing.T) {
	f := newFake(t)
	f.failing(http.StatusInternalServerError, "Internal Server Error")
	r := start(t, f, func(c *Config) {
		c.Settings.BatchSize, c.Settings.MaxWait, c.Settings.Retries, c.Settings.BreakerFailures = 64, time.Minute, 0, 2
	})
	for range 2 {
		var ends []<-chan outcome
		for i := range 64 {
			ends = append(ends, r.send(r.context(), &pb.PrefillRequest{Text: fmt.Sprint("prompt ", i)}))
		}
		for _, end := range ends {
			if o := <-end; status.Code(o.err) != codes.Internal {
				t.Error(o.err)
			}
		}
	}
	if calls := len(f.seen()); calls > 60 || !r.up.Queue.Stats().BreakerOpen {
		t.Errorf("%d calls for 2 batches of 64, breaker open: %v", calls, r.up.Queue.Stats().BreakerOpen)
	}
}

// Health and the batcher agree after any race of drains and undrains.
func TestDrainAndUndrainAtOnceLeaveReadinessAndBatcherAgreed(t *testing.T) {
	r := start(t, newFake(t), nil)
	for range 50 {
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = r.admin.Drain(r.context(), &pb.DrainRequest{}) })
		wg.Go(func() { _, _ = r.admin.Undrain(r.context(), &pb.UndrainRequest{}) })
		wg.Wait()
		s, err := r.admin.GetStatus(r.context(), &pb.GetStatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "a"})
		if s.GetReady() != (err == nil) {
			t.Fatalf("ready is %v, and a request gets %v", s.GetReady(), err)
		}
		if _, err := r.admin.Undrain(r.context(), &pb.UndrainRequest{}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReceiptsTellWhatWasPredicted(t *testing.T) {
	r := start(t, newFake(t), func(c *Config) { c.Settings.MaxWait = 0 })
	var last *pb.PrefillResponse
	for i := range 200 {
		reply, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: strings.Repeat("word ", 1+i%20)})
		if err != nil {
			t.Fatal(err)
		}
		if last = reply; last.GetReceipt().PredictedSeconds != nil {
			break
		}
	}
	if rc := last.GetReceipt(); rc.GetPredictedSeconds() <= 0 || rc.GetUpstreamSeconds() <= 0 {
		t.Errorf("got %v", rc)
	}
	s, err := r.admin.GetStatus(r.context(), &pb.GetStatusRequest{})
	if err != nil || s.GetBatcher().GetCost().GetBatches() == 0 {
		t.Errorf("status %v, %v", s.GetBatcher(), err)
	}
}
