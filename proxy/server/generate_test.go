package server

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"paceline/sglang/sim"

	"paceline/proxy/upstream"
)

// simulated is a simulator that answers at once.
func simulated(t *testing.T) (s *sim.Server, url string) { return simulatedAt(t, 1e-7) }

// simulatedAt starts a simulator that takes so many seconds a token.
func simulatedAt(t *testing.T, tokenSeconds float64) (s *sim.Server, url string) {
	t.Helper()
	return simulatedVersion(t, "", tokenSeconds)
}

// simulatedVersion is simulatedAt of a version of SGLang.
func simulatedVersion(t *testing.T, version string, tokenSeconds float64) (s *sim.Server, url string) {
	t.Helper()
	s, err := sim.New(sim.Options{Version: version, Speed: 1, Profile: sim.Profile{
		Name: "quick", Device: "none", Model: "none", Origin: "made up", TokenSeconds: tokenSeconds,
		ChunkedPrefillSize: 4096, MaxRunningRequests: 64, KVCacheTokens: 100_000, ContextLength: 4096, VocabSize: 151_936,
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if url, err = s.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	return s, url
}

// ask sends a request and returns its status and body.
func ask(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
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

func (r *running) url(path string) string { return "http://" + r.HTTPAddr() + path }

// prefills are calls of /generate that are batched.
func prefills() map[string]string {
	return map[string]string{
		"one text":          `{"text":"def add(a, b):","sampling_params":{"max_new_tokens":0}}`,
		"one text, a token": `{"text":"def add(a, b):","sampling_params":{"max_new_tokens":1,"temperature":0}}`,
		"a list of one":     `{"text":["def add(a, b):"],"sampling_params":{"max_new_tokens":0}}`,
		"texts": `{"text":["def add(a, b):","class A:"],"sampling_params":{"max_new_tokens":1,"temperature":0},` +
			`"stream":false}`,
		"ids": `{"input_ids":[9707,1879,13],"sampling_params":{"max_new_tokens":0}}`,
		"lists of ids": `{"input_ids":[[9707,1879],[13]],"sampling_params":[{"max_new_tokens":0},{"max_new_tokens":1,` +
			`"temperature":0}]}`,
		"a rid":            `{"text":"a b c","rid":"my-rid","sampling_params":{"max_new_tokens":0}}`,
		"a rid for a list": `{"text":["a","b"],"rid":"base","sampling_params":{"max_new_tokens":0}}`,
		"rids":             `{"text":["a","b"],"rid":["x\"1","x2"],"sampling_params":{"max_new_tokens":0}}`,
		"scores": `{"text":"def add(a, b): return","return_logprob":true,"logprob_start_len":0,"top_logprobs_num":2,` +
			`"token_ids_logprob":[5,700],"sampling_params":{"max_new_tokens":1,"temperature":0}}`,
		"scores of one of two": `{"input_ids":[[9707,1879,13],[1,2,3]],"return_logprob":[true,false],"logprob_start_len":[0,-1],` +
			`"top_logprobs_num":[2,0],"sampling_params":{"max_new_tokens":0}}`,
		"scores without a start": `{"text":"def add","return_logprob":true,"sampling_params":{"max_new_tokens":1,"temperature":0}}`,
		"a salt and nulls": `{"text":"a b","input_ids":null,"cache_salt":"s","rid":null,"return_logprob":null,` +
			`"sampling_params":{"max_new_tokens":0,"n":1}}`,
		"what SGLang's own benchmark sends": `{"text":"a b c d","sampling_params":{"temperature":0.0,"max_new_tokens":1,"ignore_eos":true},` +
			`"stream":false,"lora_path":null,"return_logprob":false,"return_routed_experts":false,"logprob_start_len":-1}`,
		"the ends of generation": `{"text":["a b","c d"],"sampling_params":[{"max_new_tokens":1,"temperature":0,"stop":["x"],` +
			`"stop_token_ids":[5],"ignore_eos":false,"skip_special_tokens":false,"no_stop_trim":true,` +
			`"spaces_between_special_tokens":true},{"max_new_tokens":1,"temperature":0,"frequency_penalty":0.5,` +
			`"presence_penalty":0.5,"repetition_penalty":1.5,"min_new_tokens":0}]}`,
		"the replacement character": `{"text":["a\ufffd � \uFFFD","\ud83d\ude00 \\\\ufffd"],"sampling_params":{"max_new_tokens":0}}`,
		"everything about sampling": `{"text":"a b","priority":null,"sampling_params":{"max_new_tokens":1,"temperature":0,"top_p":0.9,` +
			`"top_k":5,"min_p":0.1,"sampling_seed":7,"logit_bias":{"5":1}}}`,
	}
}

// comparable removes what may differ between two answers to the same call: times, random
// ids and receipts. It reports whether all answers have a receipt.
func comparable(t *testing.T, body string) (answers string, receipts bool) {
	t.Helper()
	var list []map[string]any
	if strings.HasPrefix(body, "{") {
		body = "[" + body + "]"
	}
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		t.Fatalf("%v: %.300s", err, body)
	}
	receipts = true
	for _, one := range list {
		receipts = receipts && one["paceline"] != nil
		delete(one, "paceline")
		meta, _ := one["meta_info"].(map[string]any)
		if id, _ := meta["id"].(string); len(id) == 32 {
			meta["id"] = "random"
		}
		maps.DeleteFunc(meta, func(name string, v any) bool {
			_, number := v.(float64)
			return number && (strings.HasSuffix(name, "_time") || strings.HasSuffix(name, "_ts") ||
				strings.HasSuffix(name, "latency") || strings.HasSuffix(name, "_wait"))
		})
	}
	data, _ := json.Marshal(list)
	return string(data), receipts
}

// sameAnswers sends every call directly to a server and through the proxy, and compares.
func sameAnswers(t *testing.T, r *running, url string) {
	for name, body := range prefills() {
		t.Run(name, func(t *testing.T) {
			var got [2]string
			for i, base := range []string{url, r.url("")} {
				if code, text := ask(t, "POST", url+"/flush_cache?timeout=10", ""); code != 200 {
					t.Fatalf("flush: %d %s", code, text)
				}
				code, answer := ask(t, "POST", base+"/generate", body)
				if code != 200 {
					t.Fatalf("%s: %d %.500s", base, code, answer)
				}
				var receipts bool
				got[i], receipts = comparable(t, answer)
				if receipts != (i == 1) {
					t.Errorf("receipts %v: %.300s", receipts, answer)
				}
			}
			if got[0] != got[1] {
				t.Errorf("straight\n%.1500s\nthrough the proxy\n%.1500s", got[0], got[1])
			}
		})
	}
}

func TestGenerateAnswersAsTheServerBehindWould(t *testing.T) {
	_, url := simulated(t)
	sameAnswers(t, start(t, &fakeSGLang{addr: strings.TrimPrefix(url, "http://")}, func(c *Config) { c.Settings.BatchSize = 1 }), url)
}

func TestRealSGLangAnswersGenerateTheSameThroughTheProxy(t *testing.T) {
	r, c := realSGLang(t, func(c *Config) { c.Settings.BatchSize = 1 })
	sameAnswers(t, r, c.URL())
}

func TestCallsOfGenerateMeetInABatch(t *testing.T) {
	_, url := simulated(t)
	r := start(t, &fakeSGLang{addr: strings.TrimPrefix(url, "http://")}, func(c *Config) {
		c.Settings.BatchSize, c.Settings.MaxWait = 4, time.Minute
	})
	bodies := []string{
		`{"text":"one","sampling_params":{"max_new_tokens":0}}`, `{"text":["two","three"],"sampling_params":{"max_new_tokens":0}}`,
		`{"text":"four","rid":"mine","sampling_params":{"max_new_tokens":0}}`,
	}
	answers := make([]string, len(bodies))
	var wg sync.WaitGroup
	for i, body := range bodies {
		wg.Go(func() { _, answers[i] = ask(t, "POST", r.url("/generate"), body) })
	}
	wg.Wait()
	for i, answer := range answers {
		if !strings.Contains(strings.ReplaceAll(answer, " ", ""), `"batch_size":4`) || i == 2 && !strings.Contains(answer, `"id":"mine"`) {
			t.Errorf("%d: %s", i, answer)
		}
	}
}

func TestWhatIsNoPrefillIsPassedOn(t *testing.T) {
	_, url := simulated(t)
	r := start(t, &fakeSGLang{addr: strings.TrimPrefix(url, "http://")}, nil)
	for name, c := range map[string]struct{ body, want string }{
		"more tokens":               {`{"text":"a","sampling_params":{"max_new_tokens":3}}`, `"completion_tokens":3`},
		"the default of 128":        {`{"text":"a"}`, `"completion_tokens":128`},
		"a stream":                  {`{"text":"a","stream":true,"sampling_params":{"max_new_tokens":1}}`, "data: [DONE]"},
		"a field that is not known": {`{"text":"a","session_params":{},"sampling_params":{"max_new_tokens":1}}`, `"completion_tokens":1`},
		"text beside ids":           {`{"text":"a","input_ids":[1],"sampling_params":{"max_new_tokens":1}}`, `"completion_tokens":1`},
		"SGLang's own refusal":      {`{"text":"a","sampling_params":{"max_new_tokens":5000}}`, `maximum context length`},
		"an empty list":             {`{"text":[],"sampling_params":{"max_new_tokens":1}}`, `[]`},
	} {
		code, answer := ask(t, "POST", r.url("/generate"), c.body)
		if !strings.Contains(answer, c.want) || strings.Contains(answer, "paceline") {
			t.Errorf("%s: %d %.300s", name, code, answer)
		}
	}
	if code, answer := ask(t, "GET", r.url("/v1/models"), ""); code != 200 || !strings.Contains(answer, `"object":"list"`) {
		t.Errorf("models: %d %s", code, answer)
	}
	if s := r.up.Queue.Stats(); s.Accepted != 0 {
		t.Errorf("%d were batched", s.Accepted)
	}
}

// poisonousCalls are calls on paths that bear prompts. The table refuses each with the
// problem named.
func poisonousCalls() []poisonousCall {
	long := strings.TrimSuffix(strings.Repeat("5,", 4095), ",")
	return []poisonousCall{
		{"/generate", "text: must not be empty", `{"text":"","sampling_params":{"max_new_tokens":0}}`},
		{"/generate", "text[1]: must not be empty", `{"text":["a","","b"],"sampling_params":{"max_new_tokens":1}}`},
		{"/generate", "text: must not be empty", `{"text":"","sampling_params":{"max_new_tokens":50}}`},
		{"/generate", "text[1]: must not be empty", `{"text":["a",""],"stream":true}`},
		{"/generate", "input_ids[1]: must not be empty", `{"input_ids":[[1],[]]}`},
		{"/generate", "input_ids[1][0]: -4 is outside the vocabulary [0, 151936)", `{"input_ids":[[1],[-4]]}`},
		{
			"/generate", "input_ids[1]: 151936 is outside the vocabulary [0, 151936)",
			`{"input_ids":[1,151936],"sampling_params":{"max_new_tokens":0}}`,
		},
		{
			"/generate", "input_ids[1][1]: 1e+12 is outside the vocabulary",
			`{"input_ids":[[1],[2,1e12]],"sampling_params":{"max_new_tokens":0}}`,
		},
		{
			"/generate", "input_ids: must hold at most 4089 tokens",
			`{"input_ids":[` + long + `],"sampling_params":{"max_new_tokens":0}}`,
		},
		{
			"/generate", "token_ids_logprob[0]: -1 is outside",
			`{"text":"a","return_logprob":true,"token_ids_logprob":[-1],"sampling_params":{"max_new_tokens":1}}`,
		},
		{
			"/generate", "top_logprobs_num: must be a whole number from 0 to 1024, got -1",
			`{"text":"a","return_logprob":true,"top_logprobs_num":-1,"sampling_params":{"max_new_tokens":1}}`,
		},
		{
			"/generate", "sampling_params.logit_bias[-1]: -1 is outside",
			`{"text":"a","sampling_params":{"max_new_tokens":1,"logit_bias":{"-1":1}}}`,
		},
		{
			"/generate", "sampling_params.logit_bias[999999]: 999999 is outside",
			`{"text":"a","sampling_params":{"max_new_tokens":9,"logit_bias":{"999999":1}}}`,
		},
		{"/generate", "body: must not have a name twice in one object: text", `{"text":"a","text":""}`},
		{
			"/generate", "sampling_params.max_new_tokens: must be a whole number from 0 to 2147483647, got -1",
			`{"text":"a","sampling_params":{"max_new_tokens":-1}}`,
		},
		{"/generate", "text: must be a string or a list", `{"text":5,"sampling_params":{"max_new_tokens":1}}`},
		{"/generate", "body: must be JSON in UTF-8", `{"text":"a\ud800","sampling_params":{"max_new_tokens":1}}`},
		{"/generate", "body: ", `{"text":NaN}`},
		{"/generate", "body: ", `["a"]`},
		{"/generate", "body: must be JSON in UTF-8", "{\"text\":\"\xff\"}"},
		{"/generate", "body: ", ``},
		{"/v1/completions", "prompt[1]: must not be empty", `{"model":"m","prompt":["a","","b"],"max_tokens":1}`},
		{"/v1/completions", "prompt[1]: -1 is outside", `{"model":"m","prompt":[1,-1],"max_tokens":1}`},
		{"/v1/completions", "prompt[1]: must not be empty", `{"model":"m","prompt":[[1],[]],"max_tokens":1}`},
		{"/v1/completions", "logit_bias[200000]: 200000 is outside", `{"model":"m","prompt":"a","logit_bias":{"200000":1}}`},
		{"/v1/embeddings", "input[1]: must not be empty", `{"model":"m","input":["a",""]}`},
		{"/v1/score", "items[1]: must not be empty", `{"query":"a","items":["b",""]}`},
		{"/vertex_generate", "instances[0].text: must not be empty", `{"instances":[{"text":""}]}`},
		{"/classify", "text: must not be empty", `{"text":""}`},
	}
}

type poisonousCall struct{ path, problem, body string }

func TestPoisonIsRefusedOnEveryPathAndNeverSent(t *testing.T) {
	s, url := simulated(t)
	r := start(t, &fakeSGLang{addr: strings.TrimPrefix(url, "http://")}, nil)
	for _, call := range poisonousCalls() {
		code, answer := ask(t, "POST", r.url(call.path), call.body)
		if code != 400 || !strings.Contains(answer, call.problem) {
			t.Errorf("%s %.100s: %d %.300s, want %q", call.path, call.body, code, answer, call.problem)
		}
	}
	if st := s.Stats(); st.Requests != 0 || st.Crashes != 0 {
		t.Errorf("something was sent: %+v", st)
	}
}

func TestAdministrativePathsAreRefusedOnTheDataPort(t *testing.T) {
	_, url := simulated(t)
	addr := strings.TrimPrefix(url, "http://")
	r := start(t, &fakeSGLang{addr: addr}, nil)
	for _, path := range []string{
		"/flush_cache", "/update_weights_from_disk", "/start_profile", "/set_trace_level", "/release_memory_occupation", "/open_session",
		"/load_lora_adapter", "/pause_generation", "/freeze_gc", "/hicache/storage-backend",
		"//flush_cache", "/v1/../flush_cache", "/v1/%2e%2e/flush_cache",
	} {
		for _, method := range []string{"GET", "POST"} {
			if code, answer := ask(t, method, r.url(path), "{}"); code != 403 && code != 307 && code != 301 ||
				strings.Contains(answer, "flushed") {
				t.Errorf("%s %s: %d %.200s", method, path, code, answer)
			}
		}
	}
	for _, body := range []string{`{"abort_all":true}`, `{"rid":""}`, `{}`} {
		if code, _ := ask(t, "POST", r.url("/abort_request"), body); code != 403 {
			t.Errorf("abort %s: %d", body, code)
		}
	}
	r = start(t, &fakeSGLang{addr: addr}, func(c *Config) { c.PassAdmin = true })
	if code, _ := ask(t, "POST", r.url("/flush_cache"), ""); code != 200 {
		t.Errorf("with -pass-admin: %d", code)
	}
	want := `msg="administrative request passed on" by=127.0.0.1 method=POST path=/flush_cache`
	if log := r.log.String(); strings.Count(log, want) != 1 {
		t.Errorf("no %q in\n%s", want, log)
	}
}

func TestAClientAbortsItsPromptByItsOwnRid(t *testing.T) {
	f := newFake(t)
	r := start(t, f, func(c *Config) { c.Settings.BatchSize, c.Settings.MaxWait = 3, time.Minute })
	type end struct {
		code int
		body string
	}
	ended := make(chan end, 1)
	go func() {
		code, body := ask(t, "POST", r.url("/generate"), `{"text":["a","b"],"rid":["r1","r2"],"sampling_params":{"max_new_tokens":0}}`)
		ended <- end{code, body}
	}()
	await(t, "both wait", func() bool { return r.up.Queue.Stats().Queued == 2 })
	if code, body := ask(t, "POST", r.url("/generate"), `{"text":"c","rid":"r1","sampling_params":{"max_new_tokens":0}}`); code != 400 ||
		!strings.Contains(body, "rid: must be unique") {
		t.Errorf("a rid that is taken: %d %s", code, body)
	}
	_, _ = ask(t, "POST", r.url("/abort_request"), `{"rid":"r"}`) // nobody's: what it begins is not aborted
	_, _ = ask(t, "POST", r.url("/abort_request"), `{"rid":"r1"}`)
	await(t, "one of them is gone", func() bool { return r.up.Queue.Stats().Queued == 1 })
	drain := r.http("POST", r.AdminAddr()+"/v1/admin:drain", "")
	if drain.code != 200 {
		t.Errorf("drain: %+v", drain)
	}
	got := <-ended
	var list []struct {
		Meta struct {
			ID     string                `json:"id"`
			Finish struct{ Type string } `json:"finish_reason"`
		} `json:"meta_info"`
	}
	if err := json.Unmarshal([]byte(got.body), &list); err != nil || got.code != 200 || len(list) != 2 ||
		list[0].Meta.ID != "r1" || list[0].Meta.Finish.Type != "abort" || list[1].Meta.ID != "r2" || list[1].Meta.Finish.Type != "length" {
		t.Errorf("%d %s", got.code, got.body)
	}
}

func TestErrorsOfGenerateHaveSGLangsShapes(t *testing.T) {
	f := newFake(t)
	r := start(t, f, func(c *Config) {
		c.Settings.BatchSize, c.Settings.MaxWait, c.Settings.QueueRequests, c.Settings.Retries = 8, time.Minute, 1, 0
	})
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		_, _ = ask(t, "POST", r.url("/generate"), `{"text":"a","sampling_params":{"max_new_tokens":0}}`)
	})
	await(t, "the queue is full", func() bool { return r.up.Queue.Stats().Queued == 1 })
	res := r.http("POST", r.HTTPAddr()+"/generate", `{"text":"b","sampling_params":{"max_new_tokens":0}}`)
	if res.code != 503 || res.header.Get("Retry-After") != "1" || !strings.Contains(res.body, `"object":"error"`) ||
		!strings.Contains(res.body, `"code":503`) {
		t.Errorf("full: %+v", res)
	}
	f.stop()
	await(t, "SGLang is away", func() bool { _ = r.http("GET", r.HTTPAddr()+"/model_info", ""); return !r.up.Snapshot().Ready })
	for _, path := range []string{"/generate", "/v1/models"} {
		res = r.http("POST", r.HTTPAddr()+path, `{"text":"b","sampling_params":{"max_new_tokens":0}}`)
		if res.code != 503 || res.header.Get("Retry-After") != "2" || !strings.Contains(res.body, `"object":"error"`) {
			t.Errorf("%s away: %+v", path, res)
		}
	}
	if err := r.up.Queue.Drain(t.Context()); err != nil { // lets the first go
		t.Error(err)
	}
	if upstream.ToStatus(upstream.WrongField("a", "b")).Code() != codes.InvalidArgument {
		t.Error("a wrong field is no INVALID_ARGUMENT")
	}
}

func TestAStreamIsPassedOnEventByEvent(t *testing.T) {
	next := make(chan struct{})
	f := newFake(t)
	f.pace = func(i int) bool { return i > 0 || func() bool { <-next; return true }() }
	r := start(t, f, nil)
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url("/generate"),
		strings.NewReader(`{"text":["a","b"],"rid":["1","2"],"stream":true,"sampling_params":[{"max_new_tokens":0},{"max_new_tokens":0}]}`))
	req.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	if first, err := lines.ReadString('\n'); err != nil || !strings.Contains(first, `"index":1`) {
		t.Errorf("%q, %v", first, err)
	}
	close(next) // the second is made only now
	rest, err := io.ReadAll(lines)
	if err != nil || !bytes.Contains(rest, []byte(`"index":0`)) || !bytes.Contains(rest, []byte("[DONE]")) {
		t.Errorf("%s, %v", rest, err)
	}
}

// A real SGLang survives the calls that crash it, if they are sent through the proxy.
func TestRealSGLangLivesThroughPoisonOnEveryPath(t *testing.T) {
	if os.Getenv("PACELINE_TEST_SGLANG") == "" {
		t.Skip("PACELINE_TEST_SGLANG names no server")
	}
	r, c := realSGLang(t, nil)
	for _, call := range poisonousCalls() {
		if strings.Contains(call.problem, "4089") {
			continue // of the simulator's context
		}
		if code, answer := ask(t, "POST", r.url(call.path), call.body); code != 400 || !strings.Contains(answer, call.problem) {
			t.Errorf("%s %.100s: %d %.300s, want %q", call.path, call.body, code, answer, call.problem)
		}
	}
	if err := c.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
}
