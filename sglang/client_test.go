package sglang

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts a server with handler h and returns a client of it.
func serve(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return clientOf(t, s.URL, Options{})
}

func clientOf(t *testing.T, url string, o Options) *Client {
	t.Helper()
	c, err := NewClient(url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdle)
	return c
}

func answer(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func two() Call {
	return Call{Requests: []Request{{RID: "aa", Text: "one"}, {RID: "bb", Text: "two"}}}
}

func element(rid string, tokens int) string {
	return fmt.Sprintf(`{"text":"","output_ids":[],"meta_info":{"id":%q,"finish_reason":{"type":"length","length":0},"prompt_tokens":%d,`+
		`"cached_tokens":1,"cached_tokens_details":{"device":1,"host":0},"completion_tokens":0,"dp_rank":null}}`, rid, tokens)
}

func TestErrorShapesBecomeOneError(t *testing.T) {
	cases := []struct {
		name    string
		status  int
		body    string
		kind    Kind
		message string
	}{
		{"refused for its meaning", 400, `{"error":{"message":"max_new_tokens must be at least 0, got -1."}}`, KindRejected,
			"max_new_tokens must be at least 0, got -1."},
		{"refused by the contract", 400, `{"error":"unknown field ` + "`nonsense`" + `"}`, KindRejected, "unknown field `nonsense`"},
		{"refused by validation, without the input it quotes", 400,
			`{"object":"error","message":"2 validation errors:\n  {'type': 'string_type', 'loc': ('body', 'text', 'str'), 'msg': 'Input ` +
				`should be a valid string', 'input': 'SECRET'}\n  {'type': 'list_type', 'loc': ('body', 'text', 'list[str]'), 'msg': 'Input ` +
				`should be a valid list', 'input': 'SECRET'}\n\n  File \"DIR/model\", line 928, in generate_request\n    POST /generate ` +
				`[{'type': 'string_type', 'loc': ('body', 'text', 'str'), 'msg': 'Input should be a valid string', 'input': 'SECRET'}, ` +
				`{'type': 'list_type', 'loc': ('body', 'text', 'list[str]'), 'msg': 'Input should be a valid list', 'input': 'SECRET'}]",` +
				`"type":"Bad Request","param":null,"code":400}`,
			KindRejected, "the request is not of the expected form"},
		{"busy", 503, `{"object":"error","message":"The request queue is full.","type":"503","param":null,"code":503}`, KindBusy,
			"The request queue is full."},
		{"plain text", 500, "Internal Server Error", KindServer, "Internal Server Error"},
		{"unauthorised", 401, `{"error":"Unauthorized"}`, KindAuth, "Unauthorized"},
		{"no such path", 404, `{"detail":"Not Found"}`, KindProtocol, "Not Found"},
		{"nothing at all", 502, ``, KindServer, "no message"},
		{"another document", 500, `["SECRET"]`, KindServer, "no message"},
		{"the contract, without the string it quotes", 400, `{"error":"invalid type: string \"SECRET \" SECRET\", expected a sequence"}`,
			KindRejected, `invalid type: string "…", expected a sequence`},
		{"an input that looks like a place", 400, `{"object":"error","message":"1 validation error:\n  {'loc': ('body', 'text'), 'input': ` +
			`\"x 'loc': ('SECRET words', 7)\"}","code":400}`, KindRejected, "the request is not of the expected form"},
		{"sent elsewhere", 307, ``, KindProtocol, "no message"},
		{"accepted and no more", 204, ``, KindProtocol, "no message"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := serve(t, answer(c.status, "application/json", c.body)).Generate(t.Context(), two())
			var e *Error
			if !errors.As(err, &e) || e.Status != c.status || e.Kind != c.kind || e.Message != c.message {
				t.Errorf("got %#v", err)
			}
			if strings.Contains(err.Error(), "SECRET") {
				t.Error("the input is quoted")
			}
		})
	}
}

func TestResultsFollowTheRequests(t *testing.T) {
	cases := map[string]string{
		"in order": element("aa", 11) + "," + element("bb", 22),
		"swapped":  element("bb", 22) + "," + element("aa", 11),
	}
	for name, body := range cases {
		t.Run(name, func(t *testing.T) {
			results, err := serve(t, answer(200, "application/json", "["+body+"]")).Generate(t.Context(), two())
			if err != nil {
				t.Fatal(err)
			}
			if results[0].Answer.Meta.PromptTokens != 11 || results[1].Answer.Meta.PromptTokens != 22 {
				t.Errorf("answers crossed: %+v", results)
			}
		})
	}
}

func TestAnswerThatCannotBeMatchedIsNotGuessed(t *testing.T) {
	cases := map[string]struct{ contentType, body string }{
		"too short":    {"application/json", "[" + element("aa", 1) + "]"},
		"too long":     {"application/json", "[" + element("aa", 1) + "," + element("bb", 1) + "," + element("cc", 1) + "]"},
		"a stranger":   {"application/json", "[" + element("aa", 1) + "," + element("zz", 1) + "]"},
		"one twice":    {"application/json", "[" + element("aa", 1) + "," + element("aa", 1) + "]"},
		"not a list":   {"application/json", element("aa", 1)},
		"not JSON":     {"application/json", "hello"},
		"another type": {"text/html", "[" + element("aa", 1) + "," + element("bb", 1) + "]"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := serve(t, answer(200, c.contentType, c.body)).Generate(t.Context(), two())
			var e *Error
			if !errors.As(err, &e) || e.Kind != KindProtocol {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestItemsFailByThemselves(t *testing.T) {
	abort := func(rest string) string {
		return `{"text":"","output_ids":[],"meta_info":{"id":"bb","finish_reason":{"type":"abort"` + rest + `},"prompt_tokens":1}}`
	}
	cases := map[string]struct {
		second string
		kind   Kind
	}{
		"an error of its own":      {`{"error":{"message":"too long","code":400}}`, KindRejected},
		"told to stop":             {abort(`,"message":"Aborted"`), KindAborted},
		"told to stop, null":       {abort(`,"status_code":null`), KindAborted},
		"given up for being busy":  {abort(`,"status_code":503`), KindBusy},
		"given up for being wrong": {abort(`,"status_code":400`), KindRejected},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			results, err := serve(t, answer(200, "application/json", "["+element("aa", 1)+","+c.second+"]")).Generate(t.Context(), two())
			if err != nil || results[0].Err != nil {
				t.Fatalf("got %v and %v", err, results)
			}
			var e *Error
			if !errors.As(results[1].Err, &e) || e.Kind != c.kind {
				t.Errorf("got %v", results[1].Err)
			}
		})
	}
}

func TestCallIsSentAsListsWithEveryFieldInItsPlace(t *testing.T) {
	var got map[string]any
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		if key := r.Header.Get("Authorization"); key != "" {
			t.Errorf("a key was sent: %q", key)
		}
		answer(200, "application/json", "["+element("aa", 1)+","+element("bb", 2)+"]")(w, r)
	})
	half, start, priority, seed := float32(0.5), 3, int32(7), int64(11)
	call := Call{Priority: &priority, LoRA: "ad\"apter", Requests: []Request{
		{RID: "aa", Text: "tab\t quote\" back\\ line\n bell\x07 é 𝄞", CacheSalt: "s"},
		{RID: "bb", Text: "two", MaxNewTokens: 1, Sampling: Sampling{Temperature: &half, Seed: &seed, LogitBias: map[int32]float32{5: 1}},
			Logprobs: &LogprobOptions{PromptStart: &start, TopK: 2, TokenIDs: []int32{8, 9}}},
	}}
	if _, err := c.Generate(t.Context(), call); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"text":              []any{"tab\t quote\" back\\ line\n bell\x07 é 𝄞", "two"},
		"rid":               []any{"aa", "bb"},
		"priority":          7.0,
		"lora_path":         "ad\"apter",
		"cache_salt":        []any{"s", ""},
		"return_logprob":    []any{false, true},
		"logprob_start_len": []any{-1.0, 3.0},
		"top_logprobs_num":  []any{0.0, 2.0},
		"token_ids_logprob": []any{[]any{}, []any{8.0, 9.0}},
		"sampling_params": []any{
			map[string]any{"max_new_tokens": 0.0, "temperature": 0.0},
			map[string]any{"max_new_tokens": 1.0, "temperature": 0.5, "sampling_seed": 11.0, "logit_bias": map[string]any{"5": 1.0}},
		},
	}
	if a, b := toJSON(t, got), toJSON(t, want); a != b {
		t.Errorf("sent\n%s\nwant\n%s", a, b)
	}
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestCallThatCouldHarmTheServerIsNotSent(t *testing.T) {
	c := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("it was sent") })
	nan := float32(math.NaN())
	for message, requests := range map[string][]Request{
		"requests: an empty list":                                        nil,
		"requests[1].text: empty":                                        {{RID: "aa", Text: "x"}, {RID: "bb"}},
		"requests[0].input_ids: empty":                                   {{RID: "aa", InputIDs: []int32{}}},
		"requests[0].input_ids: holds a negative id":                     {{RID: "aa", InputIDs: []int32{1, -1}}},
		"requests[1]: text and input_ids in one list":                    {{RID: "aa", Text: "x"}, {RID: "bb", InputIDs: []int32{1}}},
		"requests[0].text: given beside input_ids":                       {{RID: "aa", Text: "x", InputIDs: []int32{1}}},
		"requests[0].rid: empty":                                         {{Text: "x"}},
		"requests[0].rid: not valid UTF-8":                               {{RID: "\xff", Text: "x"}},
		"requests[0].text: not valid UTF-8":                              {{RID: "aa", Text: "\xff"}},
		"requests[0].cache_salt: not valid UTF-8":                        {{RID: "aa", Text: "x", CacheSalt: "\xff"}},
		"requests[0].sampling_params: holds a number that is not finite": {{RID: "aa", Text: "x", Sampling: Sampling{TopP: &nan}}},
		"requests[1].sampling_params: holds a number that is not finite": {{RID: "aa", Text: "x"}, {RID: "bb", Text: "x",
			Sampling: Sampling{LogitBias: map[int32]float32{1: nan}}}},
	} {
		_, err := c.Generate(t.Context(), Call{Requests: requests})
		var e *Error
		if !errors.As(err, &e) || e.Kind != KindRejected || e.Message != message {
			t.Errorf("want %q, got %v", message, err)
		}
	}
	if err := c.Abort(t.Context(), ""); err == nil {
		t.Error("an empty rid aborts everything")
	}
}

func TestNoWholeAnswerIsUnreachable(t *testing.T) {
	refused := httptest.NewServer(http.NotFoundHandler())
	refused.Close()
	cases := map[string]*Client{
		"refused": clientOf(t, refused.URL, Options{}),
		"reset": serve(t, func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		}),
		"cut short": serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, "[")
		}),
	}
	for name, c := range cases {
		_, err := c.Generate(t.Context(), two())
		var e *Error
		if !errors.As(err, &e) || e.Kind != KindUnreachable || e.Status != 0 || e.Sent != (name != "refused") {
			t.Errorf("%s: got %#v", name, err)
		}
	}
}

func TestAnswerBeyondTheLimitIsNotRead(t *testing.T) {
	s := httptest.NewServer(answer(200, "application/json", "["+strings.Repeat(" ", 4096)+"]"))
	defer s.Close()
	c := clientOf(t, s.URL, Options{})
	c.limit = 1000
	_, err := c.Generate(t.Context(), two())
	var e *Error
	if !errors.As(err, &e) || e.Kind != KindTooLong {
		t.Errorf("got %v", err)
	}
}

func TestContextEndsACall(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		cancel()
		<-r.Context().Done() // until the client hangs up
	})
	if _, err := c.Generate(ctx, two()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestControlAndInfoReadWhatTheServerTells(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", answer(200, "text/plain", ""))
	mux.HandleFunc("GET /server_info", answer(200, "application/json", `{"version":"0.5.23","status":"ready","max_req_input_len":2042,`+
		`"max_total_num_tokens":65536,"chunked_prefill_size":4096,"context_length":null,"startup_time":{"load_weight":0.25},"other":[1]}`))
	mux.HandleFunc("GET /v1/models", answer(200, "application/json", `{"object":"list","data":[{"id":"tiny","max_model_len":2048}]}`))
	mux.HandleFunc("GET /v1/loads", answer(200, "application/json", `{"loads":[{"num_running_reqs":1,`+
		`"total_prefill_uncached_tokens":100,"total_prefill_busy_us":5},{"num_running_reqs":2,"total_prefill_uncached_tokens":11,`+
		`"total_prefill_busy_us":6}]}`))
	mux.HandleFunc("POST /flush_cache", func(w http.ResponseWriter, r *http.Request) {
		if got := r.URL.Query().Get("timeout"); got != "1.5" {
			t.Errorf("timeout %q", got)
		}
		answer(400, "text/plain", "Flush cache failed.\n")(w, r)
	})
	mux.HandleFunc("POST /abort_request", func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if string(body) != `{"rid":"aa"}` {
			t.Errorf("abort sent %s", body)
		}
	})
	c := serve(t, mux.ServeHTTP)
	ctx := t.Context()
	if err := c.Ready(ctx); err != nil {
		t.Error(err)
	}
	info, err := c.ServerInfo(ctx)
	if err != nil || info.MaxReqInputLen != 2042 || info.ContextLength != nil || info.StartupTime.LoadWeight != 0.25 || info.Simulator != nil {
		t.Errorf("server info %+v, %v", info, err)
	}
	if m, err := c.Models(ctx); err != nil || len(m) != 1 || m[0].MaxModelLen != 2048 {
		t.Errorf("models %+v, %v", m, err)
	}
	if l, err := c.Loads(ctx); err != nil || l != (Load{3, 0, 111, 11}) {
		t.Errorf("loads %+v, %v", l, err)
	}
	var e *Error
	if err := c.FlushCache(ctx, 1500*time.Millisecond); !errors.As(err, &e) || e.Kind != KindBusy {
		t.Errorf("flush: %v", err)
	}
	if err := c.Abort(ctx, "aa"); err != nil {
		t.Error(err)
	}
}

func TestServerThatIsNotReadySaysSo(t *testing.T) {
	var e *Error
	err := serve(t, answer(503, "text/plain", "")).Ready(t.Context())
	if !errors.As(err, &e) || e.Kind != KindBusy {
		t.Errorf("got %v", err)
	}
}

func TestErrorTellsTheCallTheStatusAndTheMessage(t *testing.T) {
	_, err := serve(t, answer(400, "application/json", `{"error":{"message":"The input (3001 tokens) is longer than the model's context `+
		`length (2048 tokens)."}}`)).Generate(t.Context(), two())
	want := "sglang: POST /generate: 400: The input (3001 tokens) is longer than the model's context length (2048 tokens)."
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestAKeyIsCheckedBeforeUse(t *testing.T) {
	if _, err := NewClient("http://x", Options{APIKey: "key\n"}); err == nil || strings.Contains(err.Error(), "key\n") {
		t.Errorf("got %v", err)
	}
}

func TestAddressesAreCheckedBeforeUse(t *testing.T) {
	for _, bad := range []string{"", "127.0.0.1:30000", "ftp://x", "http://", "http://:80", "http://x?y", "http://x#y", "http://[::1", "::",
		"http://user:pw@x", "user:pw@x", "ftp://user:pw@x", "http://user:pw%zz@x"} {
		if _, err := NewClient(bad, Options{}); err == nil {
			t.Errorf("%q was taken", bad)
		} else if strings.Contains(err.Error(), "pw") {
			t.Errorf("the error holds the password: %v", err)
		}
	}
	if c := clientOf(t, "http://127.0.0.1:30000/", Options{}); c.URL() != "http://127.0.0.1:30000" {
		t.Errorf("got %q", c.URL())
	}
}

func TestAServerWithoutReadyIsAskedForItOnceUntilItGoesAway(t *testing.T) {
	var asked []string
	ready, model := 404, 200
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		w.WriteHeader(map[string]int{"/ready": ready, "/model_info": model}[r.URL.Path])
	})
	for i, s := range []struct {
		ready, model int
		ok           bool
		asks         string
	}{
		{404, 200, true, "/ready /model_info"},
		{404, 200, true, "/model_info"},
		{404, 503, false, "/model_info"},
		{200, 200, true, "/ready"}, // another version came
		{503, 200, false, "/ready"},
	} {
		asked, ready, model = nil, s.ready, s.model
		if err := c.Ready(t.Context()); (err == nil) != s.ok || strings.Join(asked, " ") != s.asks {
			t.Errorf("step %d: asked %v, %v", i, asked, err)
		}
	}
}

func TestKeyIsSentAsABearerToken(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer k" {
			t.Errorf("got %q", got)
		}
	}))
	defer s.Close()
	if err := clientOf(t, s.URL, Options{APIKey: "k"}).Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestRIDsAreDistinctAndOfOneLength(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		rid := NewRID()
		if len(rid) != 32 || strings.Contains(rid, "_") || seen[rid] {
			t.Fatalf("got %q", rid)
		}
		seen[rid] = true
	}
}

func TestLogprobsAreReadAsAnswered(t *testing.T) {
	body := `[{"text":"","output_ids":[],"meta_info":{"id":"aa","prompt_tokens":2,"input_token_logprobs":[[null,64,null],[-11.5,293,` +
		`"x"]],"input_top_logprobs":[null,[[-1.5,3,null]]],"output_token_ids_logprobs":[null]}},` + element("bb", 1) + `]`
	call := two()
	call.Requests[0].Logprobs = &LogprobOptions{TopK: 1}
	results, err := serve(t, answer(200, "application/json", body)).Generate(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	m := results[0].Answer.Meta
	if len(m.InputTokenLogprobs) != 2 || m.InputTokenLogprobs[0].Logprob != nil || *m.InputTokenLogprobs[1].Logprob != -11.5 ||
		*m.InputTokenLogprobs[1].Text != "x" || m.InputTopLogprobs[0] != nil || m.InputTopLogprobs[1][0].ID != 3 {
		t.Errorf("got %+v", m)
	}
	if got := toJSON(t, m.InputTokenLogprobs); got != `[[null,64,null],[-11.5,293,"x"]]` {
		t.Errorf("written back as %s", got)
	}
}

// slowly answers byte for byte, until the client hangs up.
func slowly(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", jsonType)
		for _, b := range []byte(body) {
			_, _ = w.Write([]byte{b})
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
	}
}

func TestTheEndOfASlowAnswerIsNotWaitedForForEver(t *testing.T) {
	list := "[" + element("aa", 1) + "," + element("bb", 1) + "]"
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := serve(t, slowly(list)).Generate(ctx, two()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a list without an end: %v", err)
	}
}
