package sim

import (
	"errors"
	"os"
	"testing"
	"time"

	"paceline/sglang"
)

// TestSimulatorAnswersAsARealServer and TestRealSGLangAnswersAsTheSimulator
// hold the same properties against both; the real one where PACELINE_SGLANG
// names its URL.
func TestSimulatorAnswersAsARealServer(t *testing.T) {
	p := small()
	p.ForwardSeconds = 0.001
	s := newServer(t, p)
	defer s.Close()
	url, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conform(t, url)
}

func TestRealSGLangAnswersAsTheSimulator(t *testing.T) {
	url := os.Getenv("PACELINE_SGLANG")
	if url == "" {
		t.Skip("PACELINE_SGLANG names no server")
	}
	conform(t, url)
}

func conform(t *testing.T, url string) {
	c, err := sglang.NewClient(url, sglang.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdle()
	flush := func() {
		t.Helper()
		if err := c.FlushCache(t.Context(), 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	generate := func(prompts ...[]int32) []sglang.Result {
		t.Helper()
		var call sglang.Call
		for _, p := range prompts {
			call.Requests = append(call.Requests, sglang.Request{RID: sglang.NewRID(), InputIDs: p})
		}
		results, err := c.Generate(t.Context(), call)
		if err != nil {
			t.Fatal(err)
		}
		return results
	}
	wantCached := func(what string, results []sglang.Result, want ...int) {
		t.Helper()
		for i, r := range results {
			if r.Err != nil || r.Answer.Meta.CachedTokens != want[i] {
				t.Errorf("%s: element %d has %d cached tokens, want %d (%v)", what, i, r.Answer.Meta.CachedTokens, want[i], r.Err)
			}
		}
	}

	flush()
	wantCached("a new prompt", generate(ids(300, 0, 1)), 0)
	wantCached("the same again", generate(ids(300, 0, 1)), 299)
	flush()
	wantCached("after a flush", generate(ids(300, 0, 1)), 0)
	wantCached("200 of 300 shared, first", generate(ids(300, 200, 2)), 0)
	wantCached("200 of 300 shared, second", generate(ids(300, 200, 3)), 200)
	flush()
	wantCached("a new prefix inside one list", generate(ids(300, 200, 1), ids(300, 200, 2), ids(300, 200, 3)), 0, 0, 0)

	for i, r := range generate(ids(30, 0, 4), ids(10, 0, 5), ids(20, 0, 6)) {
		if got := r.Answer.Meta.PromptTokens; got != []int{30, 10, 20}[i] || len(r.Answer.OutputIDs) != 0 {
			t.Errorf("element %d of a list has %d tokens: out of order", i, got)
		}
	}
	info, err := c.ServerInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var refused *sglang.Error
	_, err = c.Generate(t.Context(), sglang.Call{Requests: []sglang.Request{
		{RID: sglang.NewRID(), InputIDs: ids(10, 0, 7)},
		{RID: sglang.NewRID(), InputIDs: make([]int32, info.MaxReqInputLen+1)},
	}})
	if !errors.As(err, &refused) || refused.Kind != sglang.KindRejected || refused.Status != 400 {
		t.Errorf("one prompt too long fails its list with 400, got %v", err)
	}
	if err := c.Abort(t.Context(), sglang.NewRID()); err != nil {
		t.Errorf("an unknown rid is aborted with 200, got %v", err)
	}
	work, err := c.Loads(t.Context())
	if err != nil || work.TotalPrefillUncachedTokens == 0 || work.TotalPrefillBusyMicros == 0 {
		t.Errorf("the server's own account: %+v, %v", work, err)
	}
}
