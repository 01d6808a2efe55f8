package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"paceline/sglang/sim"
)

// counted is a simulator that counts the calls of a path.
type counted struct {
	*sim.Server
	url string

	mu     sync.Mutex
	calls  []string                                                 // the bodies
	answer func(w http.ResponseWriter, r *http.Request, n int) bool // may answer call n, from 1, itself
}

func newCounted(t *testing.T) *counted {
	s, _ := simulated(t)
	c := &counted{Server: s}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, scores := scoringBodies()[r.URL.Path]; scores {
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(strings.NewReader(string(body)))
			c.mu.Lock()
			c.calls = append(c.calls, string(body))
			n, answer := len(c.calls), c.answer
			c.mu.Unlock()
			if answer != nil && answer(w, r, n) {
				return
			}
		}
		s.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

// reset forgets the calls so far, and returns them.
func (c *counted) reset() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := c.calls
	c.calls = nil
	return calls
}

func (c *counted) proxy(t *testing.T) *running {
	return start(t, &fakeSGLang{addr: strings.TrimPrefix(c.url, "http://")}, nil)
}

// state is a text of about n tokens.
func state(name string, n int) string { return name + strings.Repeat(" the cat sat", n/3) }

// scoringBodies are bodies that are split, by path: each has a state of its own.
func scoringBodies() map[string][]string {
	n := 0
	next := func() string { n++; return state(fmt.Sprint("state ", n), 400) }
	ids := strings.Repeat("17,", 299) + "18"
	input, _ := json.Marshal(map[string]any{"turns": strings.Split(next(), " ")})
	return map[string][]string{
		"/v1/score": {
			fmt.Sprintf(`{"query":%q,"items":[" a"," a b c"," a b"],"label_token_ids":[5,700],"apply_softmax":true,"temperature":0.5}`, next()),
			fmt.Sprintf(`{"query":%q,"items":[" \u00e9"," a b c"," a b"],"label_token_ids":[[5],[6,7],[8]],
				"return_token_logprobs":true,"model":"m"}`, next()),
			fmt.Sprintf(`{"query":[%s],"items":[[1,2],[3,4,5]],"label_token_ids":[5,700]}`, ids),
			fmt.Sprintf(`{"query":%q,"items":[" a"," a"],"label_token_ids":[5,700],"item_first":false}`, next()),
		},
		"/v1/rerank": {
			fmt.Sprintf(`{"query":%q,"documents":["a","a b","c d e","f g h i","k"]}`, next()),
			fmt.Sprintf(`{"query":%q,"documents":["a","a b","c d e","f g h i","k"],"top_n":2,"return_documents":false}`, next()),
			fmt.Sprintf(`{"query":%q,"documents":["a","b"],"top_n":9}`, next()),
		},
		"/v1/decisions": {
			fmt.Sprintf(`{"input":%q,"questions":[{"id":"z","type":"yes_no","question":"is it?"},
				{"id":"b","type":"score","question":"how?","levels":["x","y","z"]},
				{"id":"a","type":"choice","question":"which?","options":[{"name":"p"},{"name":"q"}]}],"images":[]}`, next()),
			fmt.Sprintf(`{"input":%s,"questions":[{"id":"z","type":"yes_no","question":"is it?"},
				{"id":"y","type":"yes_no","question":"or is it?"}]}`, input),
		},
		"/v1/systemone": {
			fmt.Sprintf(`{"model":"tiny","state":%q,"questions":{"z":{"type":"noul","instructions":"is it?"},
				"b":{"type":"score","criteria":["x","y","z"]},"a":{"type":"choice","criteria":{"p":null,"q":"quite"}}}}`, next()),
		},
	}
}

func TestScoringIsAnsweredInTwoPartsAsSGLangDoes(t *testing.T) {
	s := newCounted(t)
	r := s.proxy(t)
	for path, bodies := range scoringBodies() {
		for _, body := range bodies {
			wantCode, want := ask(t, http.MethodPost, s.url+path, body)
			s.reset()
			gotCode, got := ask(t, http.MethodPost, "http://"+r.HTTPAddr()+path, body)
			if gotCode != wantCode || got != want || wantCode != http.StatusOK {
				t.Errorf("%s: %d %s\nwant %d %s", path, gotCode, got, wantCode, want)
			}
			if n := len(s.reset()); n != 2 {
				t.Errorf("%s: %d calls, want 2: %.80s", path, n, body)
			}
			if _, again := ask(t, http.MethodPost, "http://"+r.HTTPAddr()+path, body); again != want {
				t.Errorf("%s, again: %s\nwant %s", path, again, want)
			}
			if n := len(s.reset()); n != 1 {
				t.Errorf("%s: %d calls for a state that is cached, want 1: %.80s", path, n, body)
			}
		}
	}
}

func TestScoringGoesWholeWhereItemsShareNoBeginning(t *testing.T) {
	s := newCounted(t)
	r := s.proxy(t)
	long := state("state", 400)
	for path, bodies := range map[string][]string{
		"/v1/score": {
			fmt.Sprintf(`{"query":%q,"items":[" a"," b"],"label_token_ids":[5],"item_first":true}`, long),
			fmt.Sprintf(`{"query":%q,"items":[" a"," b"],"label_token_ids":[5],"score_extraction_token":"x"}`, long),
			fmt.Sprintf(`{"query":%q,"items":[" a"],"label_token_ids":[5]}`, long),
			fmt.Sprintf(`{"query":%q,"items":" a","label_token_ids":[5]}`, long),
			fmt.Sprintf(`{"query":%q,"items":[[1],[2]],"label_token_ids":[5]}`, long),
			fmt.Sprintf(`{"query":%q,"items":[" a"," b"],"label_token_ids":[[5]]}`, long),
			`{"query":"short","items":[" a"," b"],"label_token_ids":[5]}`,
			`{"items":["` + long + `","` + long + ` b"],"label_token_ids":[5]}`,
		},
		"/v1/rerank": {
			fmt.Sprintf(`{"query":[{"type":"text","text":%q}],"documents":["a","b"]}`, long),
		},
		"/v1/decisions": {
			fmt.Sprintf(`{"input":%q,"questions":[{"id":"z","type":"yes_no","question":"?"},
				{"id":"y","type":"yes_no","question":"?"}],"images":["data:,"]}`, long),
			fmt.Sprintf(`{"input":%q,"questions":[{"id":"z","type":"yes_no","question":"?"},{"id":"z","type":"yes_no","question":"?"}]}`, long),
		},
		"/v1/systemone": {
			fmt.Sprintf(`{"model":"m","state":%q,"questions":{"z":{"type":"noul","instructions":"is it?"}}}`, long),
		},
	} {
		for _, body := range bodies {
			wantCode, want := ask(t, http.MethodPost, s.url+path, body)
			s.reset()
			gotCode, got := ask(t, http.MethodPost, "http://"+r.HTTPAddr()+path, body)
			if gotCode != wantCode || got != want {
				t.Errorf("%s: %d %s\nwant %d %s", path, gotCode, got, wantCode, want)
			}
			if calls := s.reset(); len(calls) != 1 || calls[0] != body {
				t.Errorf("%s: %d calls, want the request itself: %.80s", path, len(calls), body)
			}
		}
	}
}

func TestScoringReadsASharedStateOnce(t *testing.T) {
	const states, items, stateTokens, itemTokens = 20, 8, 1000, 20
	tokens := func(n, from int) string {
		ids := make([]string, n)
		for i := range ids {
			ids[i] = fmt.Sprint((from + i*7919) % 150_000)
		}
		return strings.Join(ids, ",")
	}
	const fewest = states * (stateTokens + items*itemTokens)
	computed := func(s *counted, url string) float64 {
		var callers sync.WaitGroup
		for caller := range 4 {
			callers.Go(func() {
				for i := caller; i < states; i += 4 {
					var all []string
					for k := range items {
						all = append(all, "["+tokens(itemTokens, 1000*i+100*k+7)+"]")
					}
					body := fmt.Sprintf(`{"query":[%s],"items":[%s],"label_token_ids":[5]}`, tokens(stateTokens, i+100_000), strings.Join(all, ","))
					if code, answer := ask(t, http.MethodPost, url+"/v1/score", body); code != http.StatusOK {
						t.Errorf("%d %s", code, answer)
					}
				}
			})
		}
		callers.Wait()
		return float64(s.Stats().UncachedTokens) / fewest
	}
	direct := newCounted(t)
	alone := computed(direct, direct.url)
	behind := newCounted(t)
	split := computed(behind, "http://"+behind.proxy(t).HTTPAddr())
	t.Logf("computed ÷ fewest: %.2f direct, %.3f through the proxy", alone, split)
	if split > 1.05 || alone < 2 {
		t.Errorf("computed ÷ fewest is %.3f through the proxy, want at most 1.05, and %.2f direct, want at least 2", split, alone)
	}
}

func TestAStateThatOthersMayHaveEvictedIsReadBeforeItsScoring(t *testing.T) {
	s := newCounted(t)
	r := s.proxy(t)
	body := fmt.Sprintf(`{"query":[%s18],"items":[[1,2],[3,4],[5,6],[7,8]],"label_token_ids":[5,700]}`, strings.Repeat("17,", 999))
	_, first := ask(t, http.MethodPost, r.url("/v1/score"), body)
	for name, most := range map[string]int64{"evicted": 1000 + 4*3, "still cached": 4*3 + 1} {
		if name == "evicted" {
			if code, _ := ask(t, http.MethodPost, s.url+"/flush_cache", ""); code != http.StatusOK {
				t.Fatal(code)
			}
		}
		last := time.Now()
		await(t, "the state is in doubt", func() bool { return time.Since(last) > time.Second/2 })
		s.reset()
		before := s.Stats().UncachedTokens
		_, answer := ask(t, http.MethodPost, r.url("/v1/score"), body)
		if calls := s.reset(); answer != first || len(calls) != 1 || calls[0] != body {
			t.Errorf("%s: %d calls: %s\nwant the request itself: %s", name, len(calls), answer, first)
		}
		if n := s.Stats().UncachedTokens - before; n > most {
			t.Errorf("%s: %d tokens computed, want at most %d", name, n, most)
		}
	}
}

// stopFirst returns a function for the first call to a server, which then closes entered and
// waits until going is closed.
func stopFirst() (entered, going chan struct{}, answer func(n int) bool) {
	entered, going = make(chan struct{}), make(chan struct{})
	return entered, going, func(n int) bool {
		if n == 1 {
			close(entered)
			<-going
		}
		return false
	}
}

// stopFirst makes the first call of c close entered and then wait until going is closed.
func (c *counted) stopFirst() (entered, going chan struct{}) {
	entered, going, answer := stopFirst()
	c.answer = func(_ http.ResponseWriter, _ *http.Request, n int) bool { return answer(n) }
	return entered, going
}

func TestScoringOfOtherCallersWaitsForTheFirstItem(t *testing.T) {
	const callers, items = 8, 4
	s := newCounted(t)
	entered, going := s.stopFirst()
	r := s.proxy(t)
	shared := state("state", 900)
	var all sync.WaitGroup
	for caller := range callers {
		var texts []string
		for k := range items {
			texts = append(texts, fmt.Sprintf(`" caller %d item %d"`, caller, k))
		}
		all.Go(func() {
			body := fmt.Sprintf(`{"query":%q,"items":[%s],"label_token_ids":[5]}`, shared, strings.Join(texts, ","))
			if code, answer := ask(t, http.MethodPost, "http://"+r.HTTPAddr()+"/v1/score", body); code != http.StatusOK {
				t.Errorf("%d %s", code, answer)
			}
		})
		if caller == 0 {
			<-entered
		}
	}
	await(t, "all others wait", func() bool { return r.up.Queue.Stats().Passing.Waiting == callers-1 })
	close(going)
	all.Wait()
	if n, computed := len(s.reset()), s.Stats().UncachedTokens; n != callers+1 || computed > 900+callers*items*12 {
		t.Errorf("%d calls and %d tokens computed, want %d calls", n, computed, callers+1)
	}
}

func TestAScoringRequestThatWaitedSplitsWhatIsItsOwn(t *testing.T) {
	s := newCounted(t)
	entered, going := s.stopFirst()
	r := s.proxy(t)
	var all sync.WaitGroup
	for i := range 2 {
		all.Go(func() {
			query := state("state", 400) + state(fmt.Sprint(" of ", i), 600)
			body := fmt.Sprintf(`{"query":%q,"items":[" a"," b"," c"],"label_token_ids":[5]}`, query)
			if code, answer := ask(t, http.MethodPost, "http://"+r.HTTPAddr()+"/v1/score", body); code != http.StatusOK {
				t.Errorf("%d %s", code, answer)
			}
		})
		if i == 0 {
			<-entered
		}
	}
	await(t, "the second waits", func() bool { return r.up.Queue.Stats().Passing.Waiting == 1 })
	close(going)
	all.Wait()
	if n, computed := len(s.reset()), s.Stats().UncachedTokens; n != 4 || computed > 1700 {
		t.Errorf("%d calls and %d tokens computed, want 4 calls and about 1,600 tokens", n, computed)
	}
}

func TestAScoringPartThatIsRefusedLeavesTheErrorToSGLang(t *testing.T) {
	s := newCounted(t)
	r := s.proxy(t)
	for name, c := range map[string]struct {
		body  string
		calls int
	}{
		"the first":  {fmt.Sprintf(`{"query":%q,"items":[" a"," b"],"label_token_ids":[[5,5],[6]]}`, state("one", 400)), 2},
		"the others": {fmt.Sprintf(`{"query":%q,"items":[" a"," b"," c"],"label_token_ids":[[5],[6],[7,7]]}`, state("two", 400)), 3},
		"too long":   {fmt.Sprintf(`{"query":%q,"items":[" a",%q],"label_token_ids":[5]}`, state("three", 400), state(" more", 3800)), 3},
	} {
		wantCode, want := ask(t, http.MethodPost, s.url+"/v1/score", c.body)
		s.reset()
		gotCode, got := ask(t, http.MethodPost, "http://"+r.HTTPAddr()+"/v1/score", c.body)
		calls := s.reset()
		if gotCode != wantCode || got != want || wantCode != http.StatusBadRequest {
			t.Errorf("%s: %d %s\nwant %d %s", name, gotCode, got, wantCode, want)
		}
		if len(calls) != c.calls || calls[len(calls)-1] != c.body {
			t.Errorf("%s: %d calls, want %d and the request itself as the last", name, len(calls), c.calls)
		}
	}
}

func TestAScoringPartThatFailsIsTheAnswer(t *testing.T) {
	for name, fail := range map[string]func(w http.ResponseWriter){
		"500": func(w http.ResponseWriter) { http.Error(w, "Internal Server Error", http.StatusInternalServerError) },
		"cut short": func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"scores":`)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
	} {
		s := newCounted(t)
		s.answer = func(w http.ResponseWriter, _ *http.Request, n int) bool {
			if n == 2 {
				fail(w)
			}
			return n == 2
		}
		code, answer := ask(t, http.MethodPost, "http://"+s.proxy(t).HTTPAddr()+"/v1/score", scoringBodies()["/v1/score"][0])
		if calls := s.reset(); code < 500 || len(calls) != 2 {
			t.Errorf("%s: %d calls, %d %s", name, len(calls), code, answer)
		}
	}
}

func TestAnAnswerOfAnotherShapeMakesScoringGoWhole(t *testing.T) {
	s := newCounted(t)
	const odd = `{"scores":[],"new":true}`
	s.answer = func(w http.ResponseWriter, _ *http.Request, _ int) bool { _, _ = io.WriteString(w, odd); return true }
	r := s.proxy(t)
	for i, want := range []int{2, 1, 1} {
		code, answer := ask(t, http.MethodPost, "http://"+r.HTTPAddr()+"/v1/score", scoringBodies()["/v1/score"][0])
		if n := len(s.reset()); code != http.StatusOK || answer != odd || n != want {
			t.Errorf("request %d: %d calls, want %d: %d %s", i, n, want, code, answer)
		}
	}
	if !strings.Contains(r.log.String(), "path=/v1/score") || strings.Contains(r.log.String(), "the cat") {
		t.Errorf("the log says: %s", r.log)
	}
}

func TestAClientThatGoesAwayEndsItsScoring(t *testing.T) {
	s := newCounted(t)
	entered, left := make(chan struct{}), make(chan struct{})
	s.answer = func(_ http.ResponseWriter, r *http.Request, _ int) bool {
		close(entered)
		<-r.Context().Done()
		close(left)
		return true
	}
	r := s.proxy(t)
	ctx, cancel := context.WithCancel(t.Context())
	body := strings.NewReader(scoringBodies()["/v1/score"][0])
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.HTTPAddr()+"/v1/score", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		transport := &http.Transport{DisableKeepAlives: true}
		if res, err := transport.RoundTrip(req); err == nil {
			res.Body.Close()
		}
	}()
	<-entered
	cancel()
	<-left
	<-ended
	r.stop()
	<-r.ended
	if n := len(s.reset()); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
}
