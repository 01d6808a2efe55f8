package server

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

const fakeVocabulary = 1000

// fakeSGLang answers like SGLang, with the faults that a test chooses.
type fakeSGLang struct {
	t    *testing.T
	addr string

	entered chan []string // receives the rids of each /generate that begins
	aborted chan string   // receives each rid of /abort_request
	hold    chan struct{} // where not nil, /generate answers only once it is closed

	mu      sync.Mutex // guards all below
	server  *http.Server
	ended   chan struct{}
	info    map[string]any
	calls   []fakeCall
	auth    []string                             // the Authorization of each request
	cut     int                                  // calls whose connection was closed before their answer
	refuse  func(c fakeCall) (int, string, bool) // status and body to answer instead
	working bool
	look    func()                                                        // called at the beginning of each /generate
	encode  func(text string) []int32                                     // what /tokenize answers; nil: 404
	fault   func(w http.ResponseWriter, r *http.Request, c fakeCall) bool // may answer a call itself
	pace    func(i int) bool                                              // called before answer i of a streamed list; false cuts the stream

	busyTokenize int // calls of /tokenize that are still answered with 503
}

type fakeCall struct {
	Text     []string         `json:"text"`
	InputIDs [][]int32        `json:"input_ids"`
	RID      []string         `json:"rid"`
	Sampling []map[string]any `json:"sampling_params"`
	Priority *int32           `json:"priority"`
	LoRA     string           `json:"lora_path"`
	Stream   bool             `json:"stream"`

	header http.Header
}

func newFake(t *testing.T) *fakeSGLang {
	f := &fakeSGLang{
		t: t, entered: make(chan []string, 10_000), aborted: make(chan string, 10_000),
		info: map[string]any{
			"version": "0.5.23", "model_path": "tiny/model", "served_model_name": "tiny", "device": "cpu",
			"max_req_input_len": 100, "max_total_num_tokens": 5000, "chunked_prefill_size": 4096, "schedule_policy": "fcfs",
			"simulator": map[string]any{"profile": "fake", "vocab_size": fakeVocabulary},
		},
	}
	f.start()
	t.Cleanup(f.stop)
	return f
}

func (f *fakeSGLang) url() string { return "http://" + f.addr }

// start listens, at the address of before if there was one.
func (f *fakeSGLang) start() {
	f.mu.Lock()
	defer f.mu.Unlock()
	addr := f.addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		f.t.Fatal(err)
	}
	f.addr = l.Addr().String()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /server_info", func(w http.ResponseWriter, _ *http.Request) { f.answer(w, f.currentInfo()) })
	mux.HandleFunc("POST /flush_cache", f.flush)
	mux.HandleFunc("POST /abort_request", f.abort)
	mux.HandleFunc("POST /generate", f.generate)
	mux.HandleFunc("POST /tokenize", f.tokenize)
	mux.HandleFunc("POST /v1/completions", f.endless)
	f.server, f.ended = &http.Server{Handler: f.noting(mux)}, make(chan struct{})
	go func(s *http.Server, ended chan struct{}) {
		defer close(ended)
		_ = s.Serve(l)
	}(f.server, f.ended)
}

// noting records the keys of requests.
func (f *fakeSGLang) noting(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.auth = append(f.auth, r.Header.Get("Authorization"))
		f.mu.Unlock()
		h.ServeHTTP(w, r)
	})
}

// authorized returns the keys of the requests so far.
func (f *fakeSGLang) authorized() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.auth)
}

// stop ends the server as a crash would: connections are cut.
func (f *fakeSGLang) stop() {
	f.mu.Lock()
	s, ended := f.server, f.ended
	f.mu.Unlock()
	_ = s.Close()
	<-ended
}

func (f *fakeSGLang) currentInfo() map[string]any {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.info
}

func (f *fakeSGLang) setInfo(key string, value any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.info[key] = value
}

func (f *fakeSGLang) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// endless takes completions by the models "endless" and "mute", and never ends them. It begins
// the streams of the first.
func (f *fakeSGLang) endless(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Model, RID string
		Stream     bool
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Model != "endless" && body.Model != "mute" {
		http.NotFound(w, r)
		return
	}
	f.entered <- []string{body.RID}
	if body.Stream && body.Model == "endless" {
		_, _ = w.Write([]byte(`data: {"choices":[{"text":"a"}]}` + "\n\n"))
		_ = http.NewResponseController(w).Flush()
	}
	<-r.Context().Done()
}

func (f *fakeSGLang) abort(_ http.ResponseWriter, r *http.Request) {
	var body struct{ RID string }
	_ = json.NewDecoder(r.Body).Decode(&body)
	f.aborted <- body.RID
}

func (f *fakeSGLang) flush(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.working {
		http.Error(w, "Flush cache failed.", http.StatusBadRequest)
	}
}

func (f *fakeSGLang) tokenize(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	encode, busy := f.encode, f.busyTokenize > 0
	f.busyTokenize--
	f.mu.Unlock()
	if busy {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	var body struct{ Prompt string }
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || encode == nil {
		http.NotFound(w, r)
		return
	}
	f.answer(w, map[string]any{"tokens": encode(body.Prompt)})
}

// busy makes the server refuse flushes.
func (f *fakeSGLang) busy(yes bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.working = yes
}

func (f *fakeSGLang) generate(w http.ResponseWriter, r *http.Request) {
	var c fakeCall
	if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.header = r.Header
	f.mu.Lock()
	f.calls = append(f.calls, c)
	refuse, look, fault := f.refuse, f.look, f.fault
	f.mu.Unlock()
	if look != nil {
		look()
	}
	f.entered <- c.RID
	if f.hold != nil {
		select {
		case <-f.hold:
		case <-r.Context().Done():
			f.mu.Lock()
			f.cut++
			f.mu.Unlock()
			return
		}
	}
	if fault != nil && fault(w, r, c) {
		return
	}
	if refuse != nil {
		if code, body, yes := refuse(c); yes {
			w.WriteHeader(code)
			fmt.Fprint(w, body)
			return
		}
	}
	if c.Stream {
		f.stream(w, c)
		return
	}
	f.answer(w, c.results())
}

// stream answers a list one by one, the last first.
func (f *fakeSGLang) stream(w http.ResponseWriter, c fakeCall) {
	f.mu.Lock()
	pace := f.pace
	f.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	for i, one := range slices.Backward(c.results()) {
		if pace != nil && !pace(i) {
			panic(http.ErrAbortHandler)
		}
		one["index"] = i
		data, _ := json.Marshal(one)
		fmt.Fprintf(w, "data: %s\n\n", data)
		_ = http.NewResponseController(w).Flush()
	}
	fmt.Fprint(w, "data: [DONE]\n\n")
}

// results answers each prompt with its own length in tokens, words for text.
func (c fakeCall) results() []map[string]any {
	var all []map[string]any
	for i, rid := range c.RID {
		length := 0
		if c.InputIDs != nil {
			length = len(c.InputIDs[i])
		} else {
			length = len(strings.Fields(c.Text[i]))
		}
		n := int(c.Sampling[i]["max_new_tokens"].(float64))
		one := map[string]any{"text": "", "output_ids": []int{}, "meta_info": map[string]any{
			"id": rid, "finish_reason": map[string]any{"type": "length", "length": n},
			"prompt_tokens": length, "completion_tokens": n, "cached_tokens": length - 1,
		}}
		if n == 1 {
			one["text"], one["output_ids"] = " word", []int{7}
		}
		all = append(all, one)
	}
	return all
}

// seen returns the calls so far.
func (f *fakeSGLang) seen() []fakeCall {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// refusing makes calls that hold a text with word fail with 400, as SGLang
// fails a list: without saying which element it was.
func (f *fakeSGLang) refusing(word string) {
	f.answering(word, http.StatusBadRequest,
		`{"error":{"message":"The input (3001 tokens) is longer than the model's context length (2048 tokens)."}}`)
}

// answering sets the answer to calls that hold a text with word.
func (f *fakeSGLang) answering(word string, code int, body string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = func(c fakeCall) (int, string, bool) {
		holds := slices.ContainsFunc(c.Text, func(s string) bool { return strings.Contains(s, word) })
		return code, body, holds
	}
}

// failing makes every call fail.
func (f *fakeSGLang) failing(code int, body string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = func(fakeCall) (int, string, bool) { return code, body, true }
}
