package sim

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"paceline/sglang"
)

// TestSimulatorAnswersAsARealServer and TestRealSGLangAnswersAsTheSimulator
// hold the same properties against both; the real one where PACELINE_TEST_SGLANG
// names its URL. With -v they print the table.
func TestSimulatorAnswersAsARealServer(t *testing.T) {
	p := small()
	p.ForwardSeconds = 0.001
	p.TokenSeconds = 0.00002 // like the real one on a CPU: long lists take a while
	s := newServer(t, p)
	defer s.Close()
	url, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conform(t, url)
}

func TestRealSGLangAnswersAsTheSimulator(t *testing.T) {
	url := os.Getenv("PACELINE_TEST_SGLANG")
	if url == "" {
		t.Skip("PACELINE_TEST_SGLANG names no server")
	}
	conform(t, url)
}

// server is the server under test.
type server struct {
	*sglang.Client
	url  string
	info sglang.ServerInfo
}

func conform(t *testing.T, url string) {
	c, err := sglang.NewClient(url, sglang.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdle()
	info, err := c.ServerInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := &server{c, url, info}
	for _, property := range properties() {
		t.Run(property.name, func(t *testing.T) {
			s.flush(t)
			property.holds(t, s)
		})
	}
	for _, r := range refusals() {
		if r.where == both {
			t.Run("refused: "+r.name, func(t *testing.T) {
				if code, body := s.post(t, "/generate", r.body); code != r.status || !strings.Contains(unescaped(body), r.want) {
					t.Errorf("%d %.900s, want %d %s", code, body, r.status, r.want)
				}
			})
		}
	}
}

// property is a property of both servers, tested with an empty cache.
type property struct {
	name  string
	holds func(t *testing.T, s *server)
}

func properties() []property {
	return []property{
		{"a prompt again is cached but for its last token", func(t *testing.T, s *server) {
			wantCached(t, s.read(t, ids(300, 0, 1)), 0)
			wantCached(t, s.read(t, ids(300, 0, 1)), 299)
		}},
		{"a flush forgets it", func(t *testing.T, s *server) {
			s.read(t, ids(300, 0, 1))
			s.flush(t)
			wantCached(t, s.read(t, ids(300, 0, 1)), 0)
		}},
		{"a shared beginning is cached", func(t *testing.T, s *server) {
			wantCached(t, s.read(t, ids(300, 200, 2)), 0)
			wantCached(t, s.read(t, ids(300, 200, 3)), 200)
		}},
		{"one list shares nothing new within itself", func(t *testing.T, s *server) {
			wantCached(t, s.read(t, ids(300, 200, 1), ids(300, 200, 2), ids(300, 200, 3)), 0, 0, 0)
		}},
		{"prompts that are the same in one list are all computed", func(t *testing.T, s *server) {
			wantCached(t, s.read(t, ids(300, 0, 1), ids(300, 0, 1)), 0, 0)
		}},
		{"text is cached as ids are", func(t *testing.T, s *server) {
			r := sglang.Request{Text: "def add(a, b):\n    return a + b\n\n\ndef sub(a, b):\n    return a - b\n"}
			first, second := s.send(t, r), s.send(t, r)
			if n := first[0].Answer.Meta.PromptTokens; n < 10 || second[0].Answer.Meta.CachedTokens != n-1 {
				t.Errorf("%+v, then %+v", first[0].Answer.Meta, second[0].Answer.Meta)
			}
		}},
		{"cache salts are apart", func(t *testing.T, s *server) {
			for i, salt := range []string{"a", "b", "a"} {
				got := s.send(t, sglang.Request{InputIDs: ids(300, 0, 1), CacheSalt: salt})
				wantCached(t, got, []int{0, 0, 299}[i])
			}
		}},
		{"a full cache forgets the least recently used", func(t *testing.T, s *server) {
			if s.info.MaxTotalNumTokens > 250_000 {
				t.Skipf("its cache holds %d tokens: too many to fill here", s.info.MaxTotalNumTokens)
			}
			const n = 2000
			s.read(t, ids(n, 0, 0))
			fill := s.info.MaxTotalNumTokens/n + 1
			for kind := range fill { // every prompt begins with its number
				s.read(t, append([]int32{int32(100 + kind)}, ids(n-1, 0, 1)...))
			}
			wantCached(t, s.read(t, append([]int32{int32(100 + fill - 1)}, ids(n-1, 0, 1)...)), n-1)
			wantCached(t, s.read(t, ids(n, 0, 0)), 0)
		}},
		{"a list is answered in its order", func(t *testing.T, s *server) {
			for i, r := range s.read(t, ids(30, 0, 4), ids(10, 0, 5), ids(20, 0, 6)) {
				if got := r.Answer.Meta.PromptTokens; got != []int{30, 10, 20}[i] {
					t.Errorf("element %d has %d tokens", i, got)
				}
			}
		}},
		{"0 new tokens are none", func(t *testing.T, s *server) {
			wantEnd(t, s.read(t, ids(30, 0, 4)), 0)
		}},
		{"1 new token is one", func(t *testing.T, s *server) {
			wantEnd(t, s.send(t, sglang.Request{InputIDs: ids(30, 0, 4), MaxNewTokens: 1}), 1)
		}},
		{"0 and 1 new tokens mix in one list", func(t *testing.T, s *server) {
			got := s.send(t, sglang.Request{InputIDs: ids(30, 0, 4)}, sglang.Request{InputIDs: ids(30, 0, 5), MaxNewTokens: 1})
			wantEnd(t, got[:1], 0)
			wantEnd(t, got[1:], 1)
		}},
		{"scores are told from where they are asked for", func(t *testing.T, s *server) {
			for _, start := range []int{0, 10} {
				m := s.send(t, sglang.Request{InputIDs: ids(30, 0, 4), MaxNewTokens: 1, Logprobs: &sglang.LogprobOptions{PromptStart: &start,
					TopK: 2, TokenIDs: []int32{5}}})[0].Answer.Meta
				in := m.InputTokenLogprobs
				if len(in) != 30-start || in[0].Logprob != nil || in[1].Logprob == nil || in[len(in)-1].ID != int(ids(30, 0, 4)[29]) ||
					len(m.InputTopLogprobs) != len(in) || len(m.InputTopLogprobs[1]) != 2 || len(m.InputIDsLogprobs[1]) != 1 ||
					len(m.OutputTokenLogprobs) != 1 || len(m.OutputTopLogprobs) != 1 || len(m.OutputIDsLogprobs) != 1 {
					t.Errorf("from %d: %+v", start, m)
				}
			}
		}},
		{"a scored prompt is computed from where its scores begin", func(t *testing.T, s *server) {
			s.read(t, ids(300, 0, 1))
			for start, want := range map[int]int{0: 0, 100: 100} {
				wantCached(t, s.send(t, sglang.Request{InputIDs: ids(300, 0, 1), Logprobs: &sglang.LogprobOptions{PromptStart: &start}}), want)
			}
		}},
		{"one prompt too long fails its list with 400", func(t *testing.T, s *server) {
			var refused *sglang.Error
			_, err := s.Generate(t.Context(), sglang.Call{Requests: []sglang.Request{
				{RID: sglang.NewRID(), InputIDs: ids(10, 0, 7)}, {RID: sglang.NewRID(), InputIDs: make([]int32, s.info.MaxReqInputLen)},
			}})
			if !errors.As(err, &refused) || refused.Kind != sglang.KindRejected || refused.Status != 400 {
				t.Errorf("got %v", err)
			}
		}},
		{"the longest prompt has a token less than max_req_input_len", func(t *testing.T, s *server) {
			for newTokens := range 2 {
				longest := s.send(t, sglang.Request{InputIDs: ids(s.info.MaxReqInputLen-1, 0, 7), MaxNewTokens: newTokens})
				if m := longest[0].Answer.Meta; longest[0].Err != nil || m.PromptTokens != s.info.MaxReqInputLen-1 || m.CompletionTokens != newTokens {
					t.Errorf("%d new tokens: %+v", newTokens, longest[0])
				}
			}
		}},
		{"an unknown rid is aborted with 200", func(t *testing.T, s *server) {
			if err := s.Abort(t.Context(), sglang.NewRID()); err != nil {
				t.Error(err)
			}
		}},
		{"a prompt aborted while it waits ends, its neighbour does not", func(t *testing.T, s *server) {
			end := s.occupy(t)
			defer end()
			rids := []string{sglang.NewRID(), sglang.NewRID()}
			var got []sglang.Result
			var wg sync.WaitGroup
			wg.Go(func() {
				got = s.send(t, sglang.Request{RID: rids[0], InputIDs: ids(40, 0, 8)}, sglang.Request{RID: rids[1], InputIDs: ids(40, 0, 9)})
			})
			time.Sleep(100 * time.Millisecond) // it has come to the scheduler
			if err := s.Abort(t.Context(), rids[0]); err != nil {
				t.Error(err)
			}
			wg.Wait()
			var aborted *sglang.Error
			if !errors.As(got[0].Err, &aborted) || aborted.Kind != sglang.KindAborted || got[1].Err != nil {
				t.Errorf("%+v", got)
			}
		}},
		{"a flush is refused while anything runs", func(t *testing.T, s *server) {
			end := s.occupy(t)
			var busy *sglang.Error
			if err := s.FlushCache(t.Context(), 0); !errors.As(err, &busy) || busy.Kind != sglang.KindBusy || busy.Status != 400 {
				t.Errorf("got %v", err)
			}
			end()
		}},
		{"what runs when its connection closes is computed to its end", func(t *testing.T, s *server) {
			ctx, cancel := context.WithCancel(t.Context())
			prompt := ids(2000, 0, 1)
			time.AfterFunc(30*time.Millisecond, cancel)
			_, err := s.Generate(ctx, sglang.Call{Requests: []sglang.Request{{RID: sglang.NewRID(), InputIDs: prompt}}})
			if err == nil {
				t.Skip("it was answered before its connection was closed")
			}
			s.settle(t)
			wantCached(t, s.read(t, prompt), len(prompt)-1)
		}},
		{"ready is told at once, health after a second", func(t *testing.T, s *server) {
			for path, least := range map[string]time.Duration{"/ready": 0, "/health": 950 * time.Millisecond} {
				start := time.Now()
				if code, _ := s.get(t, path); code != 200 {
					t.Errorf("%s: %d", path, code)
				}
				if took := time.Since(start); took < least || took > least+700*time.Millisecond {
					t.Errorf("%s took %v", path, took)
				}
			}
		}},
		{"the server accounts for its work", func(t *testing.T, s *server) {
			before, err := s.Loads(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			s.read(t, ids(300, 0, 1))
			s.read(t, ids(300, 0, 1))
			s.settle(t)
			after, err := s.Loads(t.Context())
			if err != nil || after.TotalPrefillUncachedTokens-before.TotalPrefillUncachedTokens != 301 ||
				after.TotalPrefillBusyMicros <= before.TotalPrefillBusyMicros {
				t.Errorf("%+v, then %+v, %v", before, after, err)
			}
		}},
		{"limits are told", func(t *testing.T, s *server) {
			models, err := s.Models(t.Context())
			if i := s.info; err != nil || i.MaxReqInputLen == 0 || i.MaxTotalNumTokens == 0 ||
				i.ChunkedPrefillSize == 0 || i.MaxRunningRequests == 0 ||
				i.Version == "" || i.ContextLength != nil || len(models) != 1 || models[0].MaxModelLen < i.MaxReqInputLen {
				t.Errorf("%+v, %+v, %v", s.info, models, err)
			}
		}},
		{"what is gone is 404", func(t *testing.T, s *server) {
			for _, path := range []string{"/get_load", "/weight_version", "/nonsense"} {
				if code, _ := s.get(t, path); code != 404 {
					t.Errorf("%s: %d", path, code)
				}
			}
		}},
	}
}

func (s *server) flush(t *testing.T) {
	t.Helper()
	if err := s.FlushCache(t.Context(), 10*time.Second); err != nil {
		t.Fatal(err)
	}
}

func (s *server) send(t *testing.T, requests ...sglang.Request) []sglang.Result {
	t.Helper()
	requests = slices.Clone(requests)
	for i := range requests {
		if requests[i].RID == "" {
			requests[i].RID = sglang.NewRID()
		}
	}
	results, err := s.Generate(t.Context(), sglang.Call{Requests: requests})
	if err != nil {
		t.Error(err)
		return make([]sglang.Result, len(requests))
	}
	return results
}

func (s *server) read(t *testing.T, prompts ...[]int32) []sglang.Result {
	t.Helper()
	var requests []sglang.Request
	for _, p := range prompts {
		requests = append(requests, sglang.Request{InputIDs: p})
	}
	return s.send(t, requests...)
}

// occupy gives the server some tenths of a second of work and returns when it runs. end
// waits for it.
func (s *server) occupy(t *testing.T) (end func()) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() {
		var prompts [][]int32
		for kind := range 16 {
			prompts = append(prompts, append([]int32{int32(100 + kind)}, ids(1900, 0, 1)...))
		}
		s.read(t, prompts...)
	})
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if l, err := s.Loads(t.Context()); err == nil && l.NumRunning+l.NumWaiting > 0 || time.Now().After(end) {
			break
		}
	}
	time.Sleep(30 * time.Millisecond)
	return wg.Wait
}

// settle waits until nothing runs.
func (s *server) settle(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		l, err := s.Loads(t.Context())
		if err == nil && l.NumRunning+l.NumWaiting == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%+v, %v", l, err)
		}
	}
	time.Sleep(100 * time.Millisecond)
}

func (s *server) get(t *testing.T, path string) (int, string) {
	t.Helper()
	return s.ask(t, http.MethodGet, path, "")
}

func (s *server) post(t *testing.T, path, body string) (int, string) {
	t.Helper()
	return s.ask(t, http.MethodPost, path, body)
}

func (s *server) ask(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(data)
}

func wantCached(t *testing.T, results []sglang.Result, want ...int) {
	t.Helper()
	for i, r := range results {
		if r.Err != nil || r.Answer.Meta.CachedTokens != want[i] {
			t.Errorf("element %d has %d cached tokens, want %d (%v)", i, r.Answer.Meta.CachedTokens, want[i], r.Err)
		}
	}
}

func wantEnd(t *testing.T, results []sglang.Result, tokens int) {
	t.Helper()
	for i, r := range results {
		m := r.Answer.Meta
		if r.Err != nil || len(r.Answer.OutputIDs) != tokens || m.CompletionTokens != tokens || m.FinishReason == nil ||
			m.FinishReason.Type != "length" || m.FinishReason.Length == nil || *m.FinishReason.Length != tokens {
			t.Errorf("element %d: %+v, want %d new tokens", i, r, tokens)
		}
	}
}
