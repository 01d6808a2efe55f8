package server

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"

	pb "paceline/proto/paceline/v1"
)

func TestRESTAnswersUnderTheContractsNames(t *testing.T) {
	f := newFake(t)
	r := start(t, f, nil)
	for _, body := range []string{
		`{"text": "three little words", "max_new_tokens": 1, "request_id": "mine"}`,
		`{"token_ids": [1, 2, 3], "max_new_tokens": 1, "request_id": "mine"}`,
	} {
		got := r.post(body)
		var reply struct {
			RequestID    string `json:"request_id"`
			PromptTokens int    `json:"prompt_tokens"`
			FinishReason string `json:"finish_reason"`
			FirstToken   struct {
				ID int `json:"id"`
			} `json:"first_token"`
			Receipt struct {
				BatchSize     int    `json:"batch_size"`
				ReleaseReason string `json:"release_reason"`
			} `json:"receipt"`
		}
		if err := json.Unmarshal([]byte(got.body), &reply); err != nil || got.code != 200 {
			t.Fatalf("%d %s: %v", got.code, got.body, err)
		}
		if reply.RequestID != "mine" || reply.PromptTokens != 3 || reply.FirstToken.ID != 7 ||
			reply.FinishReason != "FINISH_REASON_LENGTH" || reply.Receipt.BatchSize != 1 || reply.Receipt.ReleaseReason == "" {
			t.Errorf("got %s", got.body)
		}
	}
	if c := f.seen(); len(c) != 2 || len(c[0].Text) != 1 || len(c[1].InputIDs) != 1 {
		t.Errorf("calls %+v", c)
	}
}

func TestRESTShowsWhatIsZero(t *testing.T) {
	r := start(t, newFake(t), nil)
	if got := r.post(`{"text": "one"}`); !strings.Contains(got.body, `"cached_tokens":0`) {
		t.Error(got.body)
	}
}

func TestRESTErrors(t *testing.T) {
	f := newFake(t)
	r := start(t, f, func(c *Config) { c.MaxMessageBytes = 1000 })
	for _, c := range []struct {
		body string
		code int
		part string
	}{
		{`{}`, 400, "text: must not be empty"},
		{``, 400, "text: must not be empty"},
		{`{"token_ids": [1, -1]}`, 400, "token_ids[1]: -1 is outside the vocabulary"},
		{`{"text": "a", "max_tokens": 1}`, 400, "max_tokens: unknown field"},
		{`{"text": `, 400, "not JSON"},
		{`{"text": "` + strings.Repeat("a", 1000) + `"}`, 400, "larger than 1000 bytes"},
	} {
		got := r.post(c.body)
		if got.code != c.code || !strings.Contains(got.body, c.part) {
			t.Errorf("%.40s: %d %s", c.body, got.code, got.body)
		}
	}
	if got := r.http("GET", r.HTTPAddr()+"/v1/nothing", ""); got.code != 404 {
		t.Errorf("unknown path: %d", got.code)
	}
}

func TestRESTStatusesAreThoseOfTheGateway(t *testing.T) {
	f := newFake(t)
	f.hold = make(chan struct{})
	r := start(t, f, tight)
	ends := occupy(r, f)
	if got := r.post(`{"text": "too many"}`); got.code != 429 || got.header.Get("Retry-After") != "1" {
		t.Errorf("full: %d %v", got.code, got.header)
	}
	if _, err := r.admin.UpdateSettings(r.context(), update("queue_requests", &pb.Settings{QueueRequests: 10})); err != nil {
		t.Fatal(err)
	}
	if got := r.post(`{"text": "late"}`, "Grpc-Timeout", "20m"); got.code != 504 {
		t.Errorf("deadline: %d %s", got.code, got.body)
	}
	close(f.hold)
	for _, end := range ends {
		<-end
	}
	f.stop()
	if got := r.post(`{"text": "away"}`); got.code != 503 || got.header.Get("Retry-After") != "2" {
		t.Errorf("away: %d %v", got.code, got.header)
	}
}

func TestRESTHealth(t *testing.T) {
	f := newFake(t)
	r := start(t, f, nil)
	for path, want := range map[string]string{"/healthz": "alive\n", "/readyz": "ready\n"} {
		if got := r.http("GET", r.HTTPAddr()+path, ""); got.code != 200 || got.body != want {
			t.Errorf("%s: %d %q", path, got.code, got.body)
		}
	}
	f.stop()
	_ = r.post(`{"text": "a"}`) // tells the watch
	await(t, "not ready", func() bool { return r.http("GET", r.HTTPAddr()+"/readyz", "").code == 503 })
	if got := r.http("GET", r.HTTPAddr()+"/healthz", ""); got.code != 200 {
		t.Errorf("alive without SGLang: %d", got.code)
	}
}

func TestRESTStreams(t *testing.T) {
	r := start(t, newFake(t), nil)
	got := r.http("POST", r.HTTPAddr()+"/v1/prefill:stream",
		`{"request":{"request_id":"a","text":"x"}}`+"\n"+`{"request":{"request_id":"b","text":"x y"}}`)
	if got.code != 200 || strings.Count(got.body, `{"result":{"request_id":`) != 2 {
		t.Errorf("%d %s", got.code, got.body)
	}
}

// With full duplex, which PrefillStream needs, net/http closed a connection after an answer
// if a refused body was left unread.
func TestAConnectionOutlivesABodyThatIsRefused(t *testing.T) {
	r := start(t, newFake(t), nil)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	deep := strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)
	for i := range 3 {
		ctx := httptrace.WithClientTrace(r.context(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
			if c.Reused != (i > 0) {
				t.Errorf("request %d: reused %v", i, c.Reused)
			}
		}})
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.HTTPAddr()+"/v1/prefill",
			strings.NewReader(`{"text": "a", "x": `+deep+`}`))
		if err != nil {
			t.Fatal(err)
		}
		res, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusBadRequest {
			t.Errorf("request %d: %s", i, res.Status)
		}
	}
}

// A GET of such a page was answered, and SGLang's CORS headers let the page read it.
func TestAnotherSitesPageIsRefusedOnEveryListener(t *testing.T) {
	r := start(t, newFake(t), nil)
	for _, at := range []struct{ method, url string }{
		{"POST", r.HTTPAddr() + "/v1/prefill"}, {"POST", r.HTTPAddr() + "/generate"}, {"GET", r.HTTPAddr() + "/server_info"},
		{"OPTIONS", r.HTTPAddr() + "/generate"}, {"GET", r.HTTPAddr() + "/readyz"},
		{"GET", r.AdminAddr() + "/v1/admin/status"}, {"POST", r.AdminAddr() + "/v1/admin:drain"}, {"GET", r.MetricsAddr() + "/metrics"},
	} {
		for _, sent := range [][]string{
			{"Origin", "http://evil.example"}, {"Origin", "null"}, {"Origin", "http://127.0.0.1:1"},
			{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}, {"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors"},
			{"Host", "evil.example"}, {"Host", "evil.example:8080"}, {"Host", "127.0.0.1.evil.example"},
		} {
			if got := r.http(at.method, at.url, `{"text": "a"}`, sent...); got.code != http.StatusForbidden {
				t.Errorf("%v with %q: %d %s", at, sent, got.code, got.body)
			}
		}
	}
}

func TestAClientThatIsNoForeignPageIsServed(t *testing.T) {
	f := newFake(t)
	local := start(t, f, nil)
	open := start(t, f, func(c *Config) { c.HTTP = "0.0.0.0:0" })
	_, port, _ := strings.Cut(open.HTTPAddr(), "]:")
	for name, got := range map[string]httpReply{
		"a loopback name":          local.http("GET", local.HTTPAddr()+"/server_info", "", "Host", "localhost:8080"),
		"a loopback address":       local.http("GET", local.HTTPAddr()+"/server_info", "", "Host", "[::1]:8080"),
		"a page of the same host":  local.http("GET", local.HTTPAddr()+"/server_info", "", "Origin", "http://"+local.HTTPAddr()),
		"a link":                   local.http("GET", local.AdminAddr()+"/", "", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"),
		"a service of Kubernetes'": open.http("GET", "127.0.0.1:"+port+"/server_info", "", "Host", "paceline.models.svc:8080"),
	} {
		if got.code != http.StatusOK {
			t.Errorf("%s: %d %s", name, got.code, got.body)
		}
	}
}

func TestAnUnknownPathIs404AndAWrongMethod405OnEachListener(t *testing.T) {
	r := start(t, newFake(t), nil)
	for _, c := range []struct {
		method, url string
		code        int
	}{
		{"GET", r.HTTPAddr() + "/nope", 404}, {"POST", r.HTTPAddr() + "/nope", 404}, {"POST", r.HTTPAddr() + "/v1/nope", 404},
		{"DELETE", r.HTTPAddr() + "/generate", 405}, {"DELETE", r.HTTPAddr() + "/v1/completions", 405}, {"PATCH", r.HTTPAddr() + "/health", 405},
		{"GET", r.HTTPAddr() + "/generate", 405}, {"GET", r.HTTPAddr() + "/v1/completions", 405}, {"DELETE", r.HTTPAddr() + "/v1/models", 405},
		{"GET", r.HTTPAddr() + "/v1/prefill", 405}, {"DELETE", r.HTTPAddr() + "/healthz", 405},
		{"GET", r.AdminAddr() + "/nope", 404}, {"POST", r.AdminAddr() + "/", 405}, {"DELETE", r.AdminAddr() + "/v1/admin/status", 405},
		{"GET", r.AdminAddr() + "/v1/admin:drain", 405},
		{"GET", r.MetricsAddr() + "/nope", 404}, {"POST", r.MetricsAddr() + "/metrics", 405},
	} {
		if got := r.http(c.method, c.url, ""); got.code != c.code {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.url, got.code, got.body, c.code)
		}
	}
}

// As SGLang 0.5.23 does, and curl -d without a header sends a form. The proxy's own paths take any type.
func TestABodyThatIsNotSaidToBeJSONIsRefusedOnEachPathOfSGLangs(t *testing.T) {
	_, url := simulated(t)
	r := start(t, &fakeSGLang{addr: strings.TrimPrefix(url, "http://")}, nil)
	const form, body = "application/x-www-form-urlencoded", `{"text": "a", "sampling_params": {"max_new_tokens": 0}}`
	for path, body := range map[string]string{
		"/generate":       body,
		"/v1/completions": `{"model": "tiny", "prompt": "a", "max_tokens": 2}`,
		"/v1/score":       `{"model": "tiny", "query": "a", "items": ["b"], "label_token_ids": [1]}`,
		"/classify":       `{"text": "a"}`,
		"/tokenize":       `{"model": "tiny", "prompt": "a"}`,
		"/abort_request":  `{"rid": "a"}`,
	} {
		got := r.http("POST", r.HTTPAddr()+path, body, "Content-Type", form)
		if want := `Content-Type: must be application/json, got \"` + form; got.code != 400 || !strings.Contains(got.body, want) {
			t.Errorf("%s: %d %s", path, got.code, got.body)
		}
	}
	for path, kind := range map[string]string{"/generate": "Application/JSON; charset=utf-8", "/v1/prefill": form} {
		if got := r.http("POST", r.HTTPAddr()+path, body[:len(`{"text": "a"`)]+"}", "Content-Type", kind); got.code != 200 {
			t.Errorf("%s as %s: %d %s", path, kind, got.code, got.body)
		}
	}
}

func TestADrainRefusesLateArrivalsOnEachPathWithABody(t *testing.T) {
	_, url := simulated(t)
	r := start(t, &fakeSGLang{addr: strings.TrimPrefix(url, "http://")}, nil)
	if _, err := r.admin.Drain(r.context(), &pb.DrainRequest{}); err != nil {
		t.Fatal(err)
	}
	for path, body := range map[string]string{
		"/generate":       `{"text": "a"}`,
		"/v1/completions": `{"model": "tiny", "prompt": "a", "max_tokens": 2}`,
		"/v1/score":       `{"model": "tiny", "query": "a", "items": ["b"], "label_token_ids": [1]}`,
		"/v1/embeddings":  `{"model": "tiny", "input": "a"}`,
		"/v1/prefill":     `{"text": "a"}`,
	} {
		got := r.http("POST", r.HTTPAddr()+path, body, "Content-Type", "application/json")
		if got.code != 503 || got.header.Get("Retry-After") == "" || !strings.Contains(got.body, "draining and takes no new requests") {
			t.Errorf("%s: %d %s", path, got.code, got.body)
		}
	}
}
