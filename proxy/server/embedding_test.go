package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"paceline/sglang/sim"
)

// embedder is a simulated SGLang of an embedding model that keeps the lists it gets.
type embedder struct {
	url string

	mu     sync.Mutex
	lists  [][]json.RawMessage                              // the prompts of each call that embeds
	hold   chan struct{}                                    // where not nil, lists are answered once it is closed
	answer func(w http.ResponseWriter, prompts string) bool // may answer a call itself
}

func newEmbedder(t *testing.T, change func(*sim.Profile)) *embedder {
	profile := sim.Profile{
		Name: "quick", Device: "none", Model: "none", Origin: "made up", TokenSeconds: 1e-7, Embedding: true,
		ChunkedPrefillSize: 4096, MaxRunningRequests: 64, KVCacheTokens: 100_000, ContextLength: 4096, VocabSize: 151_936,
	}
	if change != nil {
		change(&profile)
	}
	s, err := sim.New(sim.Options{Profile: profile})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	e := &embedder{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		var call struct {
			Input json.RawMessage `json:"input"`
			Text  json.RawMessage `json:"text"`
			IDs   json.RawMessage `json:"input_ids"`
		}
		if json.Unmarshal(body, &call) == nil && r.URL.Path != "/generate" {
			prompts := string(call.Input) + string(call.Text) + string(call.IDs)
			var list []json.RawMessage
			if prompts != "" && json.Unmarshal([]byte(prompts), &list) != nil {
				list = nil // a single one
			}
			if prompts != "" {
				e.mu.Lock()
				e.lists = append(e.lists, list)
				hold, answer := e.hold, e.answer
				e.mu.Unlock()
				if hold != nil {
					<-hold
				}
				if answer != nil && answer(w, prompts) {
					return
				}
			}
		}
		s.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	e.url = server.URL
	return e
}

// reset forgets the lists so far, and returns them. What follows is held by hold.
func (e *embedder) reset(hold chan struct{}) [][]json.RawMessage {
	e.mu.Lock()
	defer e.mu.Unlock()
	lists := e.lists
	e.lists, e.hold = nil, hold
	return lists
}

func (e *embedder) proxy(t *testing.T, change func(*Config)) *running {
	return start(t, &fakeSGLang{addr: strings.TrimPrefix(e.url, "http://")}, change)
}

// embeddings are single calls by path. The gap is a number of the caller's own.
func embeddings() map[string]string {
	return map[string]string{
		"/encode":               `{"text":"a cat %[1]d"}`,
		"/classify":             `{"input_ids":[5,%[1]d,6,7],"priority":null}`,
		"/v1/embeddings":        `{"model":"m","input":"the cat %[1]d","user":"u%[1]d"}`,
		"/v1/embeddings?base64": `{"model":"m","input":"a \u00e9 cat %[1]d sat","encoding_format":"base64"}`,
		"/v1/embeddings?ids":    `{"model":"m","input":[9,%[1]d]}`,
		"/v1/embeddings?one":    `{"model":"m","input":["of one %[1]d"]}`,
		"/v1/embeddings?idsone": `{"model":"m","input":[[7,8,%[1]d]]}`,
		"/v1/classify":          `{"model":"m","input":"is %[1]d it"}`,
	}
}

// plain is an answer without ids and times.
func plain(answer string) string {
	var v any
	if json.Unmarshal([]byte(answer), &v) != nil {
		return answer
	}
	var strip func(v any)
	strip = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				strip(e)
			}
		case map[string]any:
			for name, e := range v {
				if name == "id" || name == "created" || name == "queue_time" || strings.HasSuffix(name, "_ts") || strings.HasSuffix(name, "latency") {
					delete(v, name)
				}
				strip(e)
			}
		}
	}
	strip(v)
	out, _ := json.Marshal(v)
	return string(out)
}

// embedAll asks for n prompts of each path at once, and returns the answers by path and prompt.
func embedAll(t *testing.T, url string, bodies map[string]string, n int) map[string][]string {
	all, wg := map[string][]string{}, sync.WaitGroup{}
	for path, body := range bodies {
		answers := make([]string, n)
		all[path] = answers
		for i := range n {
			wg.Go(func() {
				code, answer := ask(t, http.MethodPost, url+path, fmt.Sprintf(body, 1000+i))
				if answers[i] = plain(answer); code != http.StatusOK {
					t.Errorf("%s: %d %.300s", path, code, answer)
				}
			})
		}
	}
	wg.Wait()
	return all
}

func TestEmbeddingsOfManyCallersShareListsAndAreAnsweredAsAlone(t *testing.T) {
	e := newEmbedder(t, nil)
	r := e.proxy(t, nil)
	const n = 40
	want := embedAll(t, e.url, embeddings(), n)
	hold := make(chan struct{})
	e.reset(hold)
	done := make(chan map[string][]string)
	go func() { done <- embedAll(t, r.url(""), embeddings(), n) }()
	await(t, "all are accepted", func() bool { return r.Pending() == n*len(want) })
	close(hold)
	got := <-done
	for path := range want {
		for i := range want[path] {
			if got[path][i] != want[path][i] {
				t.Fatalf("%s: through the proxy\n%s\nalone\n%s", path, got[path][i], want[path][i])
			}
		}
	}
	// What waits for a slot goes in full lists: of texts and of ids, and apart where a field differs.
	if lists := e.reset(nil); len(lists) > 40 {
		t.Errorf("%d calls for %d requests", len(lists), n*len(want))
	}
	if s := r.up.Queue.Stats(); s.Accepted != uint64(n*len(want)) || s.Answered != s.Accepted {
		t.Errorf("%+v", s)
	}
}

func TestALoneEmbeddingHasAReceipt(t *testing.T) {
	e := newEmbedder(t, nil)
	r := e.proxy(t, nil)
	got := r.http("POST", r.HTTPAddr()+"/v1/embeddings", `{"model":"m","input":"a"}`, "Content-Type", "application/json")
	const want = ", batch_size=1, position=0, merged_requests=0, "
	if receipt := got.header.Get("Paceline-Receipt"); got.code != 200 || !strings.Contains(receipt, want) {
		t.Errorf("%d %s %q", got.code, got.body, receipt)
	}
}

// busyEmbedder is one whose only slot is taken until release is called.
func busyEmbedder(t *testing.T) (e *embedder, r *running, release func()) {
	e = newEmbedder(t, func(p *sim.Profile) { p.ContextLength = 100 })
	r = e.proxy(t, func(c *Config) { c.Settings.MaxInFlight = 1 })
	hold := make(chan struct{})
	e.reset(hold)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ask(t, http.MethodPost, r.url("/v1/embeddings"), `{"model":"m","input":"the first"}`)
	}()
	await(t, "the slot is taken", func() bool { return r.up.Queue.Stats().InFlight == 1 })
	return e, r, func() { close(hold); <-ended }
}

func TestEqualEmbeddingsAreSentOnce(t *testing.T) {
	e, r, release := busyEmbedder(t)
	var wg sync.WaitGroup
	answers := make([]string, 9)
	for i := range answers {
		wg.Go(func() {
			_, answer := ask(t, http.MethodPost, r.url("/v1/embeddings"),
				fmt.Sprintf(`{"model":"m","input":"the same","user":"u%d"}`, i))
			answers[i] = plain(answer)
		})
	}
	await(t, "all wait", func() bool { return r.Pending() == 10 })
	release()
	wg.Wait()
	_, want := ask(t, http.MethodPost, e.url+"/v1/embeddings", `{"model":"m","input":"the same"}`)
	for _, answer := range answers {
		if answer != plain(want) {
			t.Errorf("%s\nwant %s", answer, want)
		}
	}
	if lists := e.reset(nil); len(lists) != 3 || len(lists[1]) != 1 { // the first, the nine, and this test's own
		t.Errorf("%s", lists)
	}
}

func TestABadEmbeddingFailsAloneWithSGLangsOwnAnswer(t *testing.T) {
	for path, body := range map[string]string{
		"/encode": `{"text":%q}`, "/v1/embeddings": `{"model":"m","input":%q}`, "/v1/classify": `{"model":"m","input":%q}`,
	} {
		e, r, release := busyEmbedder(t)
		var wg sync.WaitGroup
		bodies, codes, got := make([]string, 12), make([]int, 12), make([]string, 12)
		for i := range bodies {
			prompt := fmt.Sprint("the cat ", i)
			if i == 7 {
				prompt = strings.Repeat("x ", 200) // longer than the context, but only SGLang counts the tokens of a text
			}
			bodies[i] = fmt.Sprintf(body, prompt)
			wg.Go(func() { codes[i], got[i] = ask(t, http.MethodPost, r.url(path), bodies[i]) })
		}
		await(t, "all wait", func() bool { return r.Pending() == 13 })
		release()
		wg.Wait()
		for i := range bodies {
			wantCode, want := ask(t, http.MethodPost, e.url+path, bodies[i])
			if codes[i] != wantCode || plain(got[i]) != plain(want) || (wantCode == http.StatusOK) != (i != 7) {
				t.Errorf("%s, %d: %d %.300s\nwant %d %.300s", path, i, codes[i], got[i], wantCode, want)
			}
		}
		if s := r.up.Queue.Stats(); s.Answered != 12 || s.Failed != 1 {
			t.Errorf("%s: %d answered, %d failed", path, s.Answered, s.Failed)
		}
	}
}

func TestEachEmbeddingEndsExactlyOnceUnderCancelsAndBadOnes(t *testing.T) {
	e := newEmbedder(t, func(p *sim.Profile) { p.ContextLength, p.TokenSeconds = 100, 1e-4 })
	r := e.proxy(t, nil)
	want := embedAll(t, e.url, map[string]string{"/v1/embeddings": embeddings()["/v1/embeddings"]}, 20)["/v1/embeddings"]
	var wg sync.WaitGroup
	var mu sync.Mutex
	ends := map[string]int{}
	const n = 300
	for i := range n {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			body := fmt.Sprintf(embeddings()["/v1/embeddings"], 1000+i%20)
			switch {
			case i%10 == 3:
				body = `{"model":"m","input":"` + strings.Repeat("y ", 150+i) + `"}`
			case i%4 == 1:
				go func() {
					for range rand.IntN(2000) { // somewhere between its arrival and its answer
						_ = r.Pending()
					}
					cancel()
				}()
			}
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, r.url("/v1/embeddings"), strings.NewReader(body))
			req.Header.Set("Content-Type", "application/json")
			res, err := http.DefaultClient.Do(req)
			end := "cancelled"
			if err == nil {
				defer res.Body.Close()
				var data []byte
				if data, err = io.ReadAll(res.Body); err == nil {
					end = fmt.Sprint(res.StatusCode)
					if res.StatusCode == http.StatusOK && plain(string(data)) != want[i%20] {
						t.Errorf("%d: %.300s\nwant %.300s", i, data, want[i%20])
					}
				}
			}
			mu.Lock()
			defer mu.Unlock()
			ends[end]++
		})
	}
	wg.Wait()
	await(t, "all have ended", func() bool { return r.Pending() == 0 })
	s := r.up.Queue.Stats()
	if ends["200"]+ends["400"]+ends["cancelled"] != n || ends["400"] != n/10 || s.Accepted != s.Answered+s.Failed+s.Cancelled {
		t.Errorf("%v, %+v", ends, s)
	}
}

func TestADrainAnswersTheEmbeddingsThatWait(t *testing.T) {
	_, r, release := busyEmbedder(t)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if code, answer := ask(t, http.MethodPost, r.url("/encode"), fmt.Sprintf(`{"text":"a %d"}`, i)); code != http.StatusOK {
				t.Errorf("%d %s", code, answer)
			}
		})
	}
	await(t, "all wait", func() bool { return r.Pending() == 21 })
	r.stop()
	await(t, "the proxy drains", func() bool { return r.http("GET", r.HTTPAddr()+"/readyz", "").code == 503 })
	release()
	wg.Wait()
	if <-r.ended; r.err != nil {
		t.Error(r.err)
	}
}

func TestWhatIsNoSingleEmbeddingIsPassedOn(t *testing.T) {
	e := newEmbedder(t, nil)
	r := e.proxy(t, nil)
	for _, c := range []struct{ path, body string }{
		{"/encode", `{"text":["a","b"]}`},
		{"/encode", `{"text":"a","rid":"mine"}`},
		{"/classify", `{"input_ids":[[1],[2]]}`},
		{"/encode", `{"text":"a","return_pooled_hidden_states":true}`},
		{"/v1/embeddings", `{"model":"m","input":["a","b"]}`},
		{"/v1/embeddings", `{"model":"m","input":" \t\u001f\u00a0"}`},
		{"/v1/classify", `{"model":"m","input":[1,2]}`},
		{"/v1/embeddings", `{"model":"m","input":"a","something":"else"}`},
	} {
		wantCode, want := ask(t, http.MethodPost, e.url+c.path, c.body)
		code, got := ask(t, http.MethodPost, r.url(c.path), c.body)
		if code != wantCode || plain(got) != plain(want) {
			t.Errorf("%s %s: %d %s\nwant %d %s", c.path, c.body, code, got, wantCode, want)
		}
	}
	if n := r.up.Queue.Stats().Accepted; n != 0 {
		t.Errorf("%d were queued", n)
	}
}

func TestEmbeddingsOfAModelThatGeneratesAreRefusedBySGLang(t *testing.T) {
	e := newEmbedder(t, func(p *sim.Profile) { p.Embedding = false })
	r := e.proxy(t, nil)
	wantCode, want := ask(t, http.MethodPost, e.url+"/v1/embeddings", `{"model":"m","input":"a"}`)
	code, got := ask(t, http.MethodPost, r.url("/v1/embeddings"), `{"model":"m","input":"a"}`)
	if code != wantCode || got != want || code != 400 || r.up.Queue.Stats().Accepted != 0 {
		t.Errorf("%d %s\nwant %d %s", code, got, wantCode, want)
	}
}

func TestEmbeddingsGoAloneWhereListsCanNotBeCutUp(t *testing.T) {
	e, r, release := busyEmbedder(t)
	e.mu.Lock()
	e.answer = func(w http.ResponseWriter, prompts string) bool {
		if !strings.HasPrefix(prompts, "[") {
			return false
		}
		_, _ = io.WriteString(w, `{"data":"of another version"}`)
		return true
	}
	e.mu.Unlock()
	got := make([]string, 8)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			_, got[i] = ask(t, http.MethodPost, r.url("/v1/embeddings"), fmt.Sprintf(`{"model":"m","input":"the cat %d"}`, i))
		})
	}
	await(t, "all wait", func() bool { return r.Pending() == 9 })
	release()
	wg.Wait()
	for i := range got {
		_, want := ask(t, http.MethodPost, e.url+"/v1/embeddings", fmt.Sprintf(`{"model":"m","input":"the cat %d"}`, i))
		if plain(got[i]) != plain(want) {
			t.Errorf("%s\nwant %s", got[i], want)
		}
	}
	accepted := r.up.Queue.Stats().Accepted
	ask(t, http.MethodPost, r.url("/v1/embeddings"), `{"model":"m","input":"the next"}`)
	if n := r.up.Queue.Stats().Accepted; n != accepted || !strings.Contains(r.log.String(), "are sent whole from now on") {
		t.Errorf("%d were queued, then %d", accepted, n)
	}
}
