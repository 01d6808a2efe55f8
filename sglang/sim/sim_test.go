package sim

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
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

// Attention over cached tokens costs as much as over new ones.
func TestAttentionMayCostTheSquareOfThePromptWhateverIsCached(t *testing.T) {
	p := small()
	p.AttentionSeconds = 1e-6
	bubble(t, p, func(t *testing.T, s *Server) {
		for _, uncached := range []int{100, 1} {
			start := time.Now()
			read(t, s, [][]int32{ids(100, 0, 1)})
			want := 11*time.Millisecond + 100*time.Millisecond + time.Duration(uncached)*100*time.Microsecond + 10*time.Millisecond
			if took := time.Since(start); took != want {
				t.Errorf("%d uncached: took %v, want %v", uncached, took, want)
			}
		}
	})
}

func TestTheFrontEndsWorkForOthersMayLengthenAForward(t *testing.T) {
	for contention, want := range map[float64]time.Duration{0: 0, 0.5: 5500 * time.Microsecond, 1: 11 * time.Millisecond,
		100: 110 * time.Millisecond} {
		p := small()
		p.Contention = contention
		bubble(t, p, func(t *testing.T, s *Server) {
			var wg sync.WaitGroup
			defer wg.Wait()
			wg.Go(func() {
				time.Sleep(50 * time.Millisecond)
				read(t, s, [][]int32{ids(100, 0, 2)})
			})
			start := time.Now()
			read(t, s, [][]int32{ids(100, 0, 1)}) // computed from 11 to 121 ms
			if took := time.Since(start); took != 121*time.Millisecond+want {
				t.Errorf("%v: took %v, want %v more", contention, took, want)
			}
		})
	}
}

func TestEachPromptOfAForwardMayCostTheDeviceTime(t *testing.T) {
	p := small()
	p.ScheduleSeconds = 0.02
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
		want := 10*time.Millisecond + time.Millisecond + 10*time.Millisecond + 100*time.Millisecond +
			time.Duration(a[0].Meta.PromptTokens)*100*time.Microsecond
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

// Log probabilities are computed, not cached: sglang 0.5.23 takes nothing from
// the cache behind logprob_start_len.
func TestPromptWhoseLogprobsAreAskedForIsComputedFromThere(t *testing.T) {
	bubble(t, small(), func(t *testing.T, s *Server) {
		read(t, s, [][]int32{ids(100, 0, 1)})
		for options, want := range map[string]int{
			`"return_logprob":true,"logprob_start_len":0`:  0,
			`"return_logprob":true,"logprob_start_len":40`: 40,
			`"return_logprob":true`:                        99,
			`"logprob_start_len":0`:                        99,
		} {
			prompt, _ := json.Marshal(ids(100, 0, 1))
			var a sglang.Answer
			_ = json.Unmarshal(do(t.Context(), s, "POST", "/generate", fmt.Sprintf(`{"input_ids":%s,%s,"sampling_params":{"max_new_tokens":0}}`,
				prompt, options)).Body.Bytes(), &a)
			if a.Meta.CachedTokens != want {
				t.Errorf("%s: %d cached, want %d", options, a.Meta.CachedTokens, want)
			}
		}
	})
}

func TestGeneratedTokenHangsOnTheWholePrompt(t *testing.T) {
	end := ids(500, 0, 1)
	a, b := append([]int32{1}, end...), append([]int32{2}, end...)
	if x, y := generated(a, 1, 151_936), generated(b, 1, 151_936); x[0] == y[0] {
		t.Errorf("both %d", x[0])
	}
	if x, y := generated(a, 3, 151_936), generated(a, 1, 151_936); x[0] != y[0] {
		t.Error("the first token depends on how many are asked for")
	}
}

func TestForwardHoldsNoMoreThanMaxPrefillTokens(t *testing.T) {
	p := small()
	p.MaxPrefillTokens = 1000
	bubble(t, p, func(t *testing.T, s *Server) {
		read(t, s, [][]int32{ids(600, 0, 1), ids(600, 0, 2), ids(600, 0, 3)})
		if st := s.Stats(); st.Forwards != 2 || st.Sequences != 4 {
			t.Errorf("%d forwards of %d sequences, want 1000 tokens and 800", st.Forwards, st.Sequences)
		}
	})
}

func TestForwardThatHadToWaitForRoomBeginsWhenThereIsSome(t *testing.T) {
	p := small()
	p.MaxRunningRequests = 1
	bubble(t, p, func(t *testing.T, s *Server) {
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			do(t.Context(), s, "POST", "/generate", `{"input_ids":[1],"sampling_params":{"max_new_tokens":51}}`)
		})
		time.Sleep(time.Second)
		read(t, s, [][]int32{{2}})
		// The first is read after 111.1 ms and generates for 50 forwards; then comes the second.
		if took, want := time.Since(start), 111100*time.Microsecond+5*time.Second+100100*time.Microsecond; took != want {
			t.Errorf("took %v, want %v", took, want)
		}
		wg.Wait()
	})
}

func TestRefusedCallQueuesAtTheFrontEnd(t *testing.T) {
	bubble(t, small(), func(t *testing.T, s *Server) {
		start := time.Now()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				do(t.Context(), s, "POST", "/generate", `{"text":"a","sampling_params":{"max_new_tokens":-1}}`)
			})
		}
		wg.Wait()
		if took := time.Since(start); took != 30*time.Millisecond {
			t.Errorf("took %v, want three times 10 ms", took)
		}
	})
}

func TestCloseEndsWhatRunsAndWhatComesLater(t *testing.T) {
	s := newServer(t, small())
	url, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dropped := make(chan error, 1)
	go func() {
		res, err := http.Post(url+"/generate", "application/json", strings.NewReader(`{"text":"a","sampling_params":{"max_new_tokens":2000}}`))
		if err == nil {
			res.Body.Close()
		}
		dropped <- err
	}()
	for s.Stats().Requests == 0 { // until it is there
		time.Sleep(time.Millisecond)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := <-dropped; err == nil {
		t.Error("answered")
	}
	defer func() {
		if recover() == nil {
			t.Error("a call after Close was answered")
		}
	}()
	do(t.Context(), s, "POST", "/generate", `{"text":"a"}`)
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

func TestAnswersLookLikeSGLangs(t *testing.T) {
	bubble(t, small(), func(t *testing.T, s *Server) {
		one := do(t.Context(), s, "POST", "/generate", `{"rid":"r","text":"the quick brown fox",`+
			`"sampling_params":{"max_new_tokens":0}}`).Body.String()
		for _, want := range []string{`"output_ids":[]`, `"id":"r"`, `"finish_reason":{"type":"length","length":0}`, `"prompt_tokens":4`,
			`"cached_tokens":0`, `"cached_tokens_details":null`, `"completion_tokens":0`} {
			if !strings.Contains(one, want) {
				t.Errorf("%s lacks %s", one, want)
			}
		}
		var a sglang.Answer
		_ = json.Unmarshal(do(t.Context(), s, "POST", "/generate", `{"text":"the quick brown fox","sampling_params":{"max_new_tokens":1},`+
			`"return_logprob":true,"logprob_start_len":0,"top_logprobs_num":2,"token_ids_logprob":[5]}`).Body.Bytes(), &a)
		if len(a.OutputIDs) != 1 || a.Text == "" || len(a.Meta.InputTokenLogprobs) != 4 || a.Meta.InputTokenLogprobs[0].Logprob != nil ||
			len(a.Meta.InputTopLogprobs) != 4 || len(a.Meta.OutputIDsLogprobs) != 1 {
			t.Errorf("got %+v", a)
		}
		var list []sglang.Answer
		_ = json.Unmarshal(do(t.Context(), s, "POST", "/generate", `{"rid":"base","text":["x","y"],`+
			`"sampling_params":{"max_new_tokens":0}}`).Body.Bytes(), &list)
		if len(list) != 2 || list[1].Meta.ID != "base_1" {
			t.Errorf("got %+v", list)
		}
		streamed := do(t.Context(), s, "POST", "/generate", `{"text":["x","y"],"stream":true,`+
			`"sampling_params":{"max_new_tokens":0}}`).Body.String()
		if !strings.Contains(streamed, `"index":0`) || !strings.Contains(streamed, `"index":1`) || !strings.HasSuffix(streamed,
			"data: [DONE]\n\n") {
			t.Errorf("stream %s", streamed)
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
	for path, allow := range map[string]string{"/generate": "POST, PUT", "/v1/completions": "POST", "/v1/score": "POST", "/classify": "POST"} {
		w := do(t.Context(), s, "GET", path, "")
		if w.Code != 405 || w.Header().Get("Allow") != allow || w.Body.String() != `{"detail":"Method Not Allowed"}` {
			t.Errorf("%s: %d %v %s", path, w.Code, w.Header(), w.Body)
		}
	}
}

func TestAnOlderVersionLacksWhatCameLater(t *testing.T) {
	const score = `{"query":[1],"items":[[2]],"label_token_ids":[3,4],"apply_softmax":true,"temperature":9,"return_token_logprobs":true}`
	for version, lacks := range map[string]string{
		"0.5.10": "chats totals startup salts ready decisions score", "0.5.11": "chats totals startup salts ready decisions score",
		"0.5.12": "totals startup salts ready decisions score", "0.5.16": "totals startup salts ready decisions score",
		"0.5.17": "salts ready decisions score", "0.5.18": "ready decisions score", "0.5.19": "ready decisions score",
		"0.5.20": "decisions score", "0.5.21": "", "": "", "0.6.0": "", "1.0.0": "",
	} {
		s, err := New(Options{Profile: small(), Version: version})
		if err != nil {
			t.Fatal(err)
		}
		body := func(method, path, body string) string { return do(t.Context(), s, method, path, body).Body.String() }
		salted := func(salt string) string {
			return body("POST", "/generate", `{"input_ids":[7,8,9,10],"sampling_params":{"max_new_tokens":0},"cache_salt":"`+salt+`"}`)
		}
		salted("a")
		info := body("GET", "/server_info", "")
		if !strings.Contains(info, cmp.Or(version, newest)) {
			t.Errorf("%q: %s", version, info)
		}
		var lacking []string
		for _, c := range []struct {
			name string
			has  bool
		}{
			{"chats", strings.Contains(body("POST", "/tokenize", `{"messages":[{"role":"user","content":"a"}]}`), `"tokens"`)},
			{"totals", strings.Contains(body("GET", "/v1/loads", ""), "total_prefill")},
			{"startup", !strings.Contains(info, `"startup_time":null`)},
			{"salts", strings.Contains(salted("b"), `"cached_tokens":0`)},
			{"ready", do(t.Context(), s, "GET", "/ready", "").Code == 200},
			{"decisions", do(t.Context(), s, "POST", "/v1/decisions", "{}").Code != 404},
			{"score", !strings.Contains(body("POST", "/v1/score", score), `"token_logprobs":null`)},
		} {
			if !c.has {
				lacking = append(lacking, c.name)
			}
		}
		if got := strings.Join(lacking, " "); got != lacks {
			t.Errorf("%q lacks %q, want %q", version, got, lacks)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, version := range []string{"new", "0.5.9", "0.4.20"} {
		if _, err := New(Options{Profile: small(), Version: version}); err == nil {
			t.Errorf("version %q was taken", version)
		}
	}
}

// A GPU computes a forward while the scheduler launches the next, whose prompts then do not
// share the first's prefix; on a CPU they do.
func TestForwardsOverlapWhereTheyAreLaunched(t *testing.T) {
	for name, c := range map[string]struct {
		launch   float64
		uncached int64
	}{
		"CPU": {0, 1001},
		"GPU": {0.05, 2000},
	} {
		p := small()
		p.LaunchSeconds = c.launch
		bubble(t, p, func(t *testing.T, s *Server) {
			var wg sync.WaitGroup
			for i := range 2 { // the second arrives during the first's launch
				wg.Go(func() {
					time.Sleep(time.Duration(i) * 20 * time.Millisecond)
					read(t, s, [][]int32{ids(1000, 0, 1)})
				})
			}
			wg.Wait()
			if st := s.Stats(); st.UncachedTokens != c.uncached || st.Forwards != 2 {
				t.Errorf("%s: %+v, want %d tokens computed", name, st, c.uncached)
			}
		})
	}
}

// With several tokenizer processes, calls do not wait for each other there.
func TestTokenizerProcessesWorkSideBySide(t *testing.T) {
	p := small()
	p.Tokenizers = 2
	bubble(t, p, func(t *testing.T, s *Server) {
		start := time.Now()
		now := start
		for range 2 {
			if end := s.front.reserve(now, time.Second)[0]; end.Sub(start) != time.Second {
				t.Errorf("one of two ends after %v", end.Sub(start))
			}
		}
		if end := s.front.reserve(now, time.Second)[0]; end.Sub(start) != 2*time.Second {
			t.Errorf("the third ends after %v", end.Sub(start))
		}
	})
}

// A CUDA graph serves every number of tokens up to that for which it was captured.
func TestGraphsAreSteps(t *testing.T) {
	p := Profile{PrefillGraphs: true, ChunkedPrefillSize: 8192}
	for n, want := range map[int]int{1: 4, 32: 32, 33: 48, 257: 288, 513: 576, 1024: 1024, 1025: 1280, 4097: 4608, 8192: 8192} {
		if got := p.GraphTokens(n); got != want {
			t.Errorf("%d tokens: a graph of %d, want %d", n, got, want)
		}
	}
	if got := (Profile{}).GraphTokens(33); got != 33 {
		t.Errorf("without graphs: %d tokens instead of 33", got)
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
	f.Add([]byte(`{"text":["a",null],"input_ids":[[1],null],"sampling_params":{"n":2,"stop":"x"}}`))
	f.Add([]byte(`{"input_ids":[[1],[2]],"return_logprob":[true,false],"logprob_start_len":[0,-1],"token_ids_logprob":[[1],[]],` +
		`"cache_salt":"s"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		p := small()
		c, err := parseCall(body, p)
		if err != nil {
			var ref *refusal
			if !errors.As(err, &ref) || ref.status < 400 || !ref.plain && !json.Valid(ref.body) {
				t.Errorf("refused as %v", err)
			}
			return
		}
		if err := c.check(p); c.deadly || err != nil {
			return
		}
		for i := range c.prompts {
			one := &c.prompts[i]
			if n := len(one.tokens); one.newTokens < 0 || n == 0 || n+one.newTokens > p.ContextLength || one.reusable() < 0 || one.reusable() >= n {
				t.Errorf("got %+v", one)
			}
		}
	})
}
