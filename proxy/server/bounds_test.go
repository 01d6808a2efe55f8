package server

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	pb "paceline/proto/paceline/v1"
)

// listOfTexts is a call of /generate with n prompts.
func listOfTexts(n int) string {
	return `{"text":["a"` + strings.Repeat(`,"a"`, n-1) + `],"sampling_params":{"max_new_tokens":0}}`
}

func TestAListThatOverfillsTheQueueIsRefusedWholeLikeAPrompt(t *testing.T) {
	f := newFake(t)
	f.hold = make(chan struct{})
	r := start(t, f, func(c *Config) {
		c.Settings.QueueRequests, c.Settings.BatchSize, c.Settings.MaxInFlight, c.Settings.MaxWait = 64, 1, 1, 0
		c.Settings.MergeIdentical = false
	})
	defer close(f.hold)
	r.send(r.context(), &pb.PrefillRequest{Text: "in flight"})
	<-f.entered
	full := func(n int) {
		t.Helper()
		got := r.http(http.MethodPost, r.HTTPAddr()+"/generate", listOfTexts(n))
		if got.code != http.StatusServiceUnavailable || got.header.Get("Retry-After") != "1" ||
			!strings.Contains(got.body, "queue_requests is 64") {
			t.Errorf("a list of %d: %d %.300s", n, got.code, got.body)
		}
	}
	full(65)
	full(500_000)
	r.send(r.context(), &pb.PrefillRequest{Text: "waits"})
	await(t, "one prompt waits", func() bool { return r.up.Queue.Stats().Queued == 1 })
	full(64)
	if s := r.up.Queue.Stats(); s.Accepted != 2 || s.Queued != 1 {
		t.Errorf("some were accepted: %+v", s)
	}
}

func TestListsThatRaceForTheQueueGetAnswersOrItsRefusal(t *testing.T) {
	f := newFake(t)
	r := start(t, f, func(c *Config) {
		c.Settings.QueueRequests, c.Settings.BatchSize, c.Settings.MaxWait = 20, 4, time.Millisecond
		c.Settings.MergeIdentical = false
	})
	var lists sync.WaitGroup
	for range 50 {
		lists.Go(func() {
			switch code, answer := ask(t, "POST", r.url("/generate"), listOfTexts(15)); {
			case code == http.StatusOK && strings.Count(answer, "meta_info") == 15:
			case code == http.StatusServiceUnavailable && strings.Contains(answer, "queue_requests"):
			default:
				t.Errorf("%d %.300s", code, answer)
			}
		})
	}
	lists.Wait()
}
