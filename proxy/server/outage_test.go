package server

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "paceline/proto/paceline/v1"
)

// Under load SGLang is killed and started again, several times: every request
// that was accepted is answered, with its own answer.
func TestARestartOfSGLangLosesNoAcceptedRequest(t *testing.T) {
	f := newFake(t)
	r := start(t, f, func(c *Config) {
		c.Upstream.MaxOutage, c.Settings.BatchSize, c.Settings.MaxWait = patience, 4, time.Millisecond
	})
	var answered, refused atomic.Int64
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for caller := range 16 {
		wg.Go(func() {
			for n := 1; ; n = n%7 + 1 {
				select {
				case <-stop:
					return
				default:
				}
				before := r.up.Queue.Stats().Accepted
				o := <-r.send(r.context(), &pb.PrefillRequest{Text: strings.Repeat("word ", n)})
				switch {
				case o.err == nil && o.reply.PromptTokens != uint32(n):
					t.Errorf("caller %d: %d words were answered as %d", caller, n, o.reply.PromptTokens)
				case o.err == nil:
					answered.Add(1)
				case status.Code(o.err) == codes.Unavailable && strings.Contains(o.err.Error(), "can't be reached"):
					refused.Add(1) // not accepted while it was away
					time.Sleep(time.Millisecond)
				default:
					t.Errorf("caller %d: %v (accepted before: %d)", caller, o.err, before)
				}
			}
		})
	}
	for range 3 {
		want := answered.Load() + 50
		await(t, "there is load", func() bool { return answered.Load() >= want })
		f.stop()
		await(t, "it is seen away", func() bool { return !r.up.Snapshot().Ready })
		f.start()
	}
	want := answered.Load() + 50
	await(t, "there is load again", func() bool { return answered.Load() >= want })
	close(stop)
	wg.Wait()
	if s := r.up.Queue.Stats(); s.Failed != 0 || s.Cancelled != 0 || s.Accepted != s.Answered {
		t.Errorf("%+v", s)
	}
	t.Logf("%d answered, %d refused while SGLang was away", answered.Load(), refused.Load())
}

func TestWhatWaitsForSGLangKeepsItsDeadlineAndTheLongestOutage(t *testing.T) {
	f := newFake(t)
	r := start(t, f, func(c *Config) { c.Upstream.MaxOutage, c.Settings.MaxWait = 500*time.Millisecond, 0 })
	f.mu.Lock()
	f.refuse = func(fakeCall) (int, string, bool) { go f.stop(); panic(http.ErrAbortHandler) }
	f.mu.Unlock()
	began := time.Now()
	_, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "a"})
	if status.Code(err) != codes.Unavailable || time.Since(began) < 400*time.Millisecond {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

// deadlyPrompts makes prompts with a word crash the fake server, which restarts at once.
func deadlyPrompts(f *fakeSGLang, word string) (deaths *atomic.Int64) {
	deaths = new(atomic.Int64)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = func(c fakeCall) (int, string, bool) {
		if slices.ContainsFunc(c.Text, func(s string) bool { return strings.Contains(s, word) }) {
			deaths.Add(1)
			go func() {
				f.stop()
				time.Sleep(500 * time.Millisecond)
				f.start()
			}()
			time.Sleep(10 * time.Millisecond)
			panic(http.ErrAbortHandler)
		}
		return 0, "", false
	}
	return deaths
}

func TestAPromptThatEndsSGLangTwiceIsNotSentAgainAndItsNeighboursAreAnswered(t *testing.T) {
	f := newFake(t)
	r := start(t, f, func(c *Config) {
		c.Upstream.MaxOutage, c.Settings.BatchSize, c.Settings.MaxWait = patience, 4, time.Minute
	})
	deaths := deadlyPrompts(f, "deadly")
	for i, end := range sendEach(t, r, "one", "deadly two", "three", "four") {
		o := <-end
		if bad := i == 1; (o.err != nil) != bad || bad && (status.Code(o.err) != codes.Internal || !strings.Contains(o.err.Error(), "twice")) {
			t.Errorf("member %d: %v", i, o.err)
		}
	}
	if n := deaths.Load(); n != 2 {
		t.Errorf("SGLang died %d times", n)
	}
}

func TestIDsMadeForAnotherModelAreNotSent(t *testing.T) {
	f := newFake(t)
	r := start(t, f, func(c *Config) {
		c.Upstream.MaxOutage, c.Settings.BatchSize, c.Settings.MaxWait = patience, 2, time.Minute
	})
	ids := r.send(r.context(), &pb.PrefillRequest{TokenIds: []int32{1, 2}})
	await(t, "it waits", func() bool { return r.up.Queue.Stats().Queued == 1 })
	f.stop()
	f.setInfo("served_model_name", "another")
	await(t, "it is seen away", func() bool { _ = r.http("GET", r.HTTPAddr()+"/model_info", ""); return !r.up.Snapshot().Ready })
	f.start()
	await(t, "it is back", func() bool { return r.up.Snapshot().Ready })
	_ = r.http("POST", r.AdminAddr()+"/v1/admin:drain", "")
	if o := <-ids; status.Code(o.err) != codes.Unavailable || !strings.Contains(fmt.Sprint(o.err), "another model") {
		t.Errorf("%+v", o)
	}
	if calls := f.seen(); len(calls) != 0 {
		t.Errorf("%+v", calls)
	}
}
