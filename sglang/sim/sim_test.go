package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"paceline/sglang"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// small is a profile whose times are easy to add up.
func small() Profile {
	return Profile{
		Name: "small", CallSeconds: 0.010, RequestSeconds: 0.001, TokenSeconds: 0.0001, ForwardSeconds: 0.1, TokenizeSecondsPerByte: 0.00001,
		ChunkedPrefillSize: 4096, MaxRunningRequests: 32, KVCacheTokens: 65536, ContextLength: 2048, VocabSize: 151936,
	}
}

func newServer(t *testing.T, p Profile) *Server {
	t.Helper()
	s, err := New(Options{Profile: p})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// bubble runs f in virtual time with a server that is closed at its end.
func bubble(t *testing.T, p Profile, f func(t *testing.T, s *Server)) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, p)
		defer s.Close()
		f(t, s)
	})
}

func do(ctx context.Context, s *Server, method, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(body)))
	return w
}

// read sends lists of ids, or one list of texts, with no new tokens.
func read(t *testing.T, s *Server, prompts any) []sglang.Answer {
	t.Helper()
	field := "input_ids"
	if _, ok := prompts.([]string); ok {
		field = "text"
	}
	body, _ := json.Marshal(map[string]any{field: prompts, "sampling_params": map[string]any{"max_new_tokens": 0}})
	w := do(t.Context(), s, "POST", "/generate", string(body))
	var answers []sglang.Answer
	if err := json.Unmarshal(w.Body.Bytes(), &answers); err != nil || w.Code != 200 {
		t.Fatalf("status %d, %v: %.300s", w.Code, err, w.Body)
	}
	return answers
}

func cachedOf(answers []sglang.Answer) []int {
	var out []int
	for _, a := range answers {
		out = append(out, a.Meta.CachedTokens)
	}
	return out
}

// ids makes n ids: shared of them common to all kinds, the rest of its kind.
func ids(n, shared, kind int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(i + 1)
		if i >= shared {
			out[i] = int32(5_000*(kind+1) + i)
		}
	}
	return out
}

func TestOneCallTakesTheSumOfItsCosts(t *testing.T) {
	bubble(t, small(), func(t *testing.T, s *Server) {
		start := time.Now()
		read(t, s, [][]int32{ids(500, 0, 1), ids(300, 0, 2), ids(200, 0, 3)})
		// a + 3b + d + 1000c
		if took, want := time.Since(start), 10*time.Millisecond+3*time.Millisecond+100*time.Millisecond+100*time.Millisecond; took != want {
			t.Errorf("took %v, want %v", took, want)
		}
		if st := s.Stats(); st.Forwards != 1 || st.Sequences != 3 || st.UncachedTokens != 1000 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestEachPromptOfAForwardMayCostTheDeviceTime(t *testing.T) {
	p := small()
	p.SequenceSeconds = 0.02
	bubble(t, p, func(t *testing.T, s *Server) {
		start := time.Now()
		read(t, s, [][]int32{ids(100, 0, 1), ids(100, 0, 2)})
		if took, want := time.Since(start), 12*time.Millisecond+100*time.Millisecond+2*20*time.Millisecond+20*time.Millisecond; took != want {
			t.Errorf("took %v, want %v", took, want)
		}
	})
}

func TestFrontEndAndDeviceWorkAtTheSameTime(t *testing.T) {
	bubble(t, small(), func(t *testing.T, s *Server) {
		start := time.Now()
		var wg sync.WaitGroup
		for k := range 10 {
			wg.Go(func() { read(t, s, [][]int32{ids(100, 0, k)}) })
		}
		wg.Wait()
		// The first runs alone, from 11 ms on; all others wait for its 110 ms and go together.
		want := 11*time.Millisecond + 110*time.Millisecond + 100*time.Millisecond + 9*10*time.Millisecond
		if took := time.Since(start); took != want {
			t.Errorf("took %v, want %v", took, want)
		}
		if st := s.Stats(); st.Forwards != 2 {
			t.Errorf("%d forwards", st.Forwards)
		}
	})
}

func TestPromptLongerThanAForwardIsCut(t *testing.T) {
	p := small()
	p.ChunkedPrefillSize = 100
	bubble(t, p, func(t *testing.T, s *Server) {
		start := time.Now()
		read(t, s, [][]int32{ids(250, 0, 1)})
		if took, want := time.Since(start), 11*time.Millisecond+3*100*time.Millisecond+25*time.Millisecond; took != want {
			t.Errorf("took %v, want %v", took, want)
		}
	})
}

func TestTextCostsItsTokenizing(t *testing.T) {
	bubble(t, small(), func(t *testing.T, s *Server) {
		start := time.Now()
		a := read(t, s, []string{strings.Repeat("word ", 200)})
		want := 10*time.Millisecond + time.Millisecond + 10*time.Millisecond + 100*time.Millisecond + time.Duration(a[0].Meta.PromptTokens)*100*time.Microsecond
		if took := time.Since(start); took != want {
			t.Errorf("took %v, want %v", took, want)
		}
	})
}

func TestTextListMayBeSplitByTheSchedulerAndAnIDListNot(t *testing.T) {
	bubble(t, small(), func(t *testing.T, s *Server) {
		read(t, s, []string{"one and", "two and", "three and"})
		if st := s.Stats(); st.Forwards != 2 {
			t.Errorf("text: %d forwards, want the first prompt alone", st.Forwards)
		}
		read(t, s, [][]int32{ids(5, 0, 1), ids(5, 0, 2), ids(5, 0, 3)})
		if st := s.Stats(); st.Forwards != 3 {
			t.Errorf("ids: %d more forwards, want one", st.Forwards-2)
		}
	})
}

// The cases of this test were measured on SGLang 0.5.23.
func TestPrefixCacheSharesAsMeasured(t *testing.T) {
	bubble(t, small(), func(t *testing.T, s *Server) {
		check := func(what string, got []sglang.Answer, want ...int) {
			t.Helper()
			if fmt.Sprint(cachedOf(got)) != fmt.Sprint(want) {
				t.Errorf("%s: cached %v, want %v", what, cachedOf(got), want)
			}
		}
		one := [][]int32{ids(500, 0, 1)}
		check("first time", read(t, s, one), 0)
		check("same again: all but the last token", read(t, s, one), 499)
		check("one token more", read(t, s, [][]int32{append(ids(500, 0, 1), 7)}), 500)
		if w := do(t.Context(), s, "POST", "/flush_cache", ""); w.Code != 200 {
			t.Errorf("flush: %d", w.Code)
		}
		check("after a flush", read(t, s, one), 0)
		check("400 of 500 shared, first", read(t, s, [][]int32{ids(500, 400, 2)}), 0)
		check("400 of 500 shared, second", read(t, s, [][]int32{ids(500, 400, 3)}), 400)
		do(t.Context(), s, "POST", "/flush_cache", "")
		check("sharing inside one list", read(t, s, [][]int32{ids(500, 400, 1), ids(500, 400, 2), ids(500, 400, 3)}), 0, 0, 0)
		do(t.Context(), s, "POST", "/flush_cache", "")
		check("three alike in one list", read(t, s, [][]int32{ids(500, 0, 1), ids(500, 0, 1), ids(500, 0, 1)}), 0, 0, 0)
		do(t.Context(), s, "POST", "/flush_cache", "")
		var sixteen [][]int32
		for k := range 16 {
			sixteen = append(sixteen, ids(500, 400, k))
		}
		check("a list of 16: what the first forward holds shares nothing", read(t, s, sixteen),
			0, 0, 0, 0, 0, 0, 0, 0, 0, 400, 400, 400, 400, 400, 400, 400)
	})
}

func TestCacheSpacesAreApart(t *testing.T) {
	bubble(t, small(), func(t *testing.T, s *Server) {
		salted := func(salt string) int {
			body := fmt.Sprintf(`{"input_ids":[[1,2,3,4,5,6]],"cache_salt":[%q],"sampling_params":{"max_new_tokens":0}}`, salt)
			var a []sglang.Answer
			_ = json.Unmarshal(do(t.Context(), s, "POST", "/generate", body).Body.Bytes(), &a)
			return a[0].Meta.CachedTokens
		}
		if a, b, c, d := salted(""), salted("x"), salted("x"), salted(""); a != 0 || b != 0 || c != 5 || d != 5 {
			t.Errorf("cached %d %d %d %d, want 0 0 5 5", a, b, c, d)
		}
	})
}

func TestFullCacheForgetsTheLeastRecentlyUsed(t *testing.T) {
	p := small()
	p.KVCacheTokens = 2000
	p.ContextLength = 4000
	bubble(t, p, func(t *testing.T, s *Server) {
		for k := range 4 {
			read(t, s, [][]int32{ids(450, 0, k)})
		}
		read(t, s, [][]int32{ids(450, 0, 0)}) // used again: now the newest
		read(t, s, [][]int32{ids(450, 0, 9)}) // evicts kind 1
		if got := read(t, s, [][]int32{ids(450, 0, 0)}); got[0].Meta.CachedTokens != 449 {
			t.Errorf("the newest was evicted: %d cached", got[0].Meta.CachedTokens)
		}
		if got := read(t, s, [][]int32{ids(450, 0, 1)}); got[0].Meta.CachedTokens > 0 {
			t.Errorf("the oldest is still there: %d cached", got[0].Meta.CachedTokens)
		}
		if st := s.Stats(); st.EvictedTokens == 0 {
			t.Error("nothing was evicted")
		}
	})
}

func TestRefusalsHaveSGLangsShapes(t *testing.T) {
	long := strings.TrimSuffix(strings.Repeat("5,", 2047), ",")
	cases := []struct {
		name, body string
		status     int
		want       string
	}{
		{"negative new tokens", `{"text":"a","sampling_params":{"max_new_tokens":-1}}`, 400, `{"error":{"message":"max_new_tokens must be at least 0, got -1."}}`},
		{"one bad element", `{"text":["a","b"],"sampling_params":[{"max_new_tokens":0},{"max_new_tokens":-1}]}`, 400, `got -1.`},
		{"over the context less six", `{"input_ids":[` + long + `],"sampling_params":{"max_new_tokens":0}}`, 400, `Input length (2047 tokens) exceeds the maximum allowed length (2042 tokens).`},
		{"over the context", `{"input_ids":[` + long + `,5],"sampling_params":{"max_new_tokens":0}}`, 400, `longer than the model's context length (2048 tokens)`},
		{"prompt and new tokens", `{"input_ids":[1,2],"sampling_params":{"max_new_tokens":3000}}`, 400, `total of 3002 tokens`},
		{"rid list of another length", `{"text":["a","b"],"rid":["x"]}`, 400, `rids length mismatch`},
		{"rid twice", `{"text":["a","b"],"rid":["d","d"]}`, 400, `Duplicate request IDs detected within the request: ['d']`},
		{"sampling list of another length", `{"text":["a","b"],"sampling_params":[{}]}`, 500, `Internal Server Error`},
		{"sampling list for one prompt", `{"text":"a","sampling_params":[{}]}`, 500, `Internal Server Error`},
		{"unknown sampling field", `{"text":"a","sampling_params":{"nonsense":1}}`, 400, "unknown field `nonsense`"},
		{"text of another type", `{"text":5}`, 400, `'loc': ('body', 'text')`},
		{"ids of another type", `{"input_ids":["a"]}`, 400, `'loc': ('body', 'input_ids')`},
		{"null in a list", `{"text":["a","b"],"cache_salt":["x",null]}`, 400, `cache_salt`},
		{"a lone empty list of ids", `{"input_ids":[]}`, 400, `empty`},
		{"broken JSON", `{"text": `, 400, `json_invalid`},
		{"logprobs from beyond the prompt", `{"text":"a","return_logprob":true,"logprob_start_len":9,"sampling_params":{"max_new_tokens":0}}`, 400, `logprob_start_len=9 is higher`},
		{"in a stream, an event under 200", `{"text":"a","stream":true,"sampling_params":{"max_new_tokens":-1}}`, 200, `"code":400`},
	}
	bubble(t, small(), func(t *testing.T, s *Server) {
		for _, c := range cases {
			w := do(t.Context(), s, "POST", "/generate", c.body)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
				t.Errorf("%s: %d %.200s", c.name, w.Code, w.Body)
			}
		}
		if w := do(t.Context(), s, "POST", "/generate", `{"text":[]}`); w.Code != 200 || w.Body.String() != "[]" {
			t.Errorf("empty list: %d %s", w.Code, w.Body)
		}
	})
}

func TestAnswersLookLikeSGLangs(t *testing.T) {
	bubble(t, small(), func(t *testing.T, s *Server) {
		one := do(t.Context(), s, "POST", "/generate", `{"rid":"r","text":"the quick brown fox","sampling_params":{"max_new_tokens":0}}`).Body.String()
		for _, want := range []string{`"output_ids":[]`, `"id":"r"`, `"finish_reason":{"type":"length","length":0}`, `"prompt_tokens":4`, `"cached_tokens":0`, `"cached_tokens_details":null`, `"completion_tokens":0`} {
			if !strings.Contains(one, want) {
				t.Errorf("%s lacks %s", one, want)
			}
		}
		var a sglang.Answer
		_ = json.Unmarshal(do(t.Context(), s, "POST", "/generate", `{"text":"the quick brown fox","sampling_params":{"max_new_tokens":1},"return_logprob":true,"logprob_start_len":0,"top_logprobs_num":2,"token_ids_logprob":[5]}`).Body.Bytes(), &a)
		if len(a.OutputIDs) != 1 || a.Text == "" || len(a.Meta.InputTokenLogprobs) != 4 || a.Meta.InputTokenLogprobs[0].Logprob != nil ||
			len(a.Meta.InputTopLogprobs) != 4 || len(a.Meta.OutputIDsLogprobs) != 1 {
			t.Errorf("got %+v", a)
		}
		var list []sglang.Answer
		_ = json.Unmarshal(do(t.Context(), s, "POST", "/generate", `{"rid":"base","text":["x","y"],"sampling_params":{"max_new_tokens":0}}`).Body.Bytes(), &list)
		if len(list) != 2 || list[1].Meta.ID != "base_1" {
			t.Errorf("got %+v", list)
		}
		streamed := do(t.Context(), s, "POST", "/generate", `{"text":["x","y"],"stream":true,"sampling_params":{"max_new_tokens":0}}`).Body.String()
		if !strings.Contains(streamed, `"index":0`) || !strings.Contains(streamed, `"index":1`) || !strings.HasSuffix(streamed, "data: [DONE]\n\n") {
			t.Errorf("stream %s", streamed)
		}
	})
}

func TestAbortEndsWhatWaitsAndAnswersIt(t *testing.T) {
	bubble(t, small(), func(t *testing.T, s *Server) {
		var first, second *httptest.ResponseRecorder
		var wg sync.WaitGroup
		wg.Go(func() {
			first = do(t.Context(), s, "POST", "/generate", `{"rid":"zz","input_ids":[1,2,3],"sampling_params":{"max_new_tokens":0}}`)
		})
		time.Sleep(20 * time.Millisecond) // it is in its forward
		wg.Go(func() {
			second = do(t.Context(), s, "POST", "/generate", `{"rid":["ab10","cd"],"input_ids":[[4,5],[6,7]],"sampling_params":{"max_new_tokens":0}}`)
		})
		time.Sleep(20 * time.Millisecond) // it waits for the next
		if w := do(t.Context(), s, "POST", "/abort_request", `{"rid":"ab1"}`); w.Code != 200 {
			t.Errorf("abort: %d", w.Code)
		}
		if w := do(t.Context(), s, "POST", "/generate", `{"rid":"zz","text":"again"}`); w.Code != 400 || !strings.Contains(w.Body.String(), "Duplicate request ID detected: zz") {
			t.Errorf("a rid in use: %d %s", w.Code, w.Body)
		}
		wg.Wait()
		if !strings.Contains(first.Body.String(), `"type":"length"`) {
			t.Errorf("a running forward was cut: %s", first.Body)
		}
		var a []sglang.Answer
		_ = json.Unmarshal(second.Body.Bytes(), &a)
		if a[0].Meta.FinishReason.Type != "abort" || a[1].Meta.FinishReason.Type != "length" {
			t.Errorf("got %s", second.Body)
		}
		if st := s.Stats(); st.Aborted != 1 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestFlushRefusesOrWaitsWhileAnythingRuns(t *testing.T) {
	bubble(t, small(), func(t *testing.T, s *Server) {
		var wg sync.WaitGroup
		wg.Go(func() { read(t, s, [][]int32{ids(10, 0, 1)}) })
		time.Sleep(20 * time.Millisecond)
		if w := do(t.Context(), s, "GET", "/flush_cache", ""); w.Code != 400 || w.Body.String() != "Flush cache failed.\n" {
			t.Errorf("got %d %q", w.Code, w.Body)
		}
		start := time.Now()
		if w := do(t.Context(), s, "POST", "/flush_cache?timeout=5", ""); w.Code != 200 || time.Since(start) != 92*time.Millisecond {
			t.Errorf("got %d after %v", w.Code, time.Since(start))
		}
		wg.Wait()
	})
}

func TestDisconnectIsNoticedLate(t *testing.T) {
	p := small()
	p.ForwardSeconds = 10
	bubble(t, p, func(t *testing.T, s *Server) {
		var wg sync.WaitGroup
		wg.Go(func() { read(t, s, [][]int32{ids(10, 0, 1)}) })
		time.Sleep(100 * time.Millisecond)
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() { do(ctx, s, "POST", "/generate", `{"input_ids":[1],"sampling_params":{"max_new_tokens":0}}`) })
		time.Sleep(100 * time.Millisecond)
		cancel()
		time.Sleep(2400 * time.Millisecond)
		if st := s.Stats(); st.Aborted != 0 {
			t.Error("noticed at once")
		}
		time.Sleep(200 * time.Millisecond)
		if st := s.Stats(); st.Aborted != 1 {
			t.Error("not noticed after 2.5 s")
		}
		wg.Wait()
	})
}

func TestDeadlyInputDropsEveryConnectionAndTheCache(t *testing.T) {
	s := newServer(t, small())
	defer s.Close()
	url, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	post := func(body string) error { // nil for an answer of any status
		res, err := http.Post(url+"/generate", "application/json", strings.NewReader(body))
		if err == nil {
			err = res.Body.Close()
		}
		return err
	}
	for i, deadly := range []string{
		`{"text":"","sampling_params":{"max_new_tokens":0}}`,
		`{"text":["a","","b"]}`,
		`{"input_ids":[[1,2],[],[3]]}`,
		`{"input_ids":[151936]}`,
		`{"input_ids":[-1]}`,
		`{"input_ids":[1000000000000]}`,
	} {
		neighbour := make(chan error, 1)
		go func() {
			neighbour <- post(`{"input_ids":[1,2,3],"sampling_params":{"max_new_tokens":2000}}`)
		}()
		for running := 0; running == 0; { // until the neighbour is at work
			_, running, _ = s.scheduler.snapshot()
			time.Sleep(time.Millisecond)
		}
		if err := post(deadly); err == nil {
			t.Errorf("%s: answered", deadly)
		}
		if err := <-neighbour; err == nil {
			t.Errorf("%s: the neighbour was answered", deadly)
		}
		if st := s.Stats(); st.Crashes != int64(i+1) {
			t.Errorf("%s: %d crashes", deadly, st.Crashes)
		}
		if err := post(`{"input_ids":[1,2,3],"sampling_params":{"max_new_tokens":0}}`); err != nil {
			t.Errorf("%s: does not serve again: %v", deadly, err)
		}
	}
}

func TestSimulatorSaysThatItIsOne(t *testing.T) {
	s := newServer(t, small())
	defer s.Close()
	url, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := sglang.NewClient(url, sglang.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdle()
	info, err := c.ServerInfo(t.Context())
	if err != nil || info.Simulator == nil || info.Simulator.Profile != "small" || info.MaxReqInputLen != 2042 {
		t.Errorf("got %+v, %v", info, err)
	}
	if _, err := c.Loads(t.Context()); err != nil {
		t.Error(err)
	}
	if m, err := c.Models(t.Context()); err != nil || m[0].MaxModelLen != 2048 {
		t.Errorf("got %+v, %v", m, err)
	}
	if w := do(t.Context(), s, "GET", "/nonexistent", ""); w.Code != 404 {
		t.Errorf("got %d", w.Code)
	}
	if w := do(t.Context(), s, "GET", "/generate", ""); w.Code == 200 {
		t.Errorf("got %d", w.Code)
	}
}

func TestScaledClockRunsAllTimesFaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Options{Profile: small(), Speed: 10})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		start := time.Now()
		a := read(t, s, [][]int32{ids(1000, 0, 1)})
		if took := time.Since(start); took != 21100*time.Microsecond {
			t.Errorf("took %v", took)
		}
		if e2e := a[0].Meta.E2ELatency; e2e < 0.2109 || e2e > 0.2111 {
			t.Errorf("says it took %v s, want the simulated 0.211", e2e)
		}
	})
}

func TestProfilesAreValidAndReadable(t *testing.T) {
	for _, p := range Profiles() {
		if err := p.Validate(); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
		if p.Origin == "" {
			t.Errorf("%s: no origin", p.Name)
		}
	}
	if _, err := ProfileNamed("nope"); err == nil || !strings.Contains(err.Error(), "cpu-tiny-qwen2") {
		t.Errorf("got %v", err)
	}
}

func FuzzGenerateBody(f *testing.F) {
	f.Add([]byte(`{"text":["a","b"],"rid":["x","y"],"sampling_params":[{"max_new_tokens":0},{"max_new_tokens":1}]}`))
	f.Add([]byte(`{"input_ids":[[1],[2]],"return_logprob":[true,false],"logprob_start_len":[0,-1],"token_ids_logprob":[[1],[]],"cache_salt":"s"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := parseCall(body, small())
		if err != nil {
			return
		}
		if _, err := c.check(small()); err != nil {
			return
		}
		for _, p := range c.prompts {
			if p.newTokens < 0 || bytes.Contains([]byte(p.rid), []byte{0}) && p.rid == "" {
				t.Errorf("got %+v", p)
			}
		}
	})
}
