package server

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	pb "paceline/proto/paceline/v1"
	"paceline/proxy/upstream"
	"paceline/sglang"
)

// realSGLang starts a proxy in front of the server that PACELINE_TEST_SGLANG names, and
// returns it with a client of that server.
func realSGLang(t *testing.T, change func(*Config)) (*running, *sglang.Client) {
	t.Helper()
	return realServer(t, "PACELINE_TEST_SGLANG", change)
}

// realServer is realSGLang for the server that a variable names.
func realServer(t *testing.T, variable string, change func(*Config)) (*running, *sglang.Client) {
	t.Helper()
	url := os.Getenv(variable)
	if url == "" {
		t.Skip(variable + " names no server")
	}
	c, err := sglang.NewClient(url, sglang.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdle)
	return start(t, &fakeSGLang{addr: strings.TrimPrefix(url, "http://")}, change), c
}

// deadly are bodies that crash SGLang 0.5.23 on its CPU backend if they are sent to it
// directly, or that fail other prompts of their list.
func deadly() map[string]string {
	return map[string]string{
		"an empty text":            `{"text":""}`,
		"an empty list of ids":     `{"token_ids":[]}`,
		"nothing":                  `{}`,
		"a negative id":            `{"token_ids":[1,-5]}`,
		"a huge id":                `{"token_ids":[1,99999999]}`,
		"the vocabulary's end":     `{"token_ids":[151936]}`,
		"too many ids":             `{"token_ids":[` + strings.Repeat("1,", 40_000) + `1]}`,
		"too long a text":          `{"text":"` + strings.Repeat("x 1 ", 20_000) + `"}`,
		"a wrong type":             `{"token_ids":["a"]}`,
		"half an id":               `{"token_ids":[1.5]}`,
		"scores of unknown ids":    `{"text":"a","logprobs":{"token_ids":[99999999]}}`,
		"too many scores":          `{"text":"a","logprobs":{"top_k":100000}}`,
		"scores behind the end":    `{"token_ids":[1,2],"logprobs":{"prompt_start":3}}`,
		"a bias for an unknown id": `{"text":"a","max_new_tokens":1,"sampling_params":{"logit_bias":{"99999999":1}}}`,
		"a negative temperature":   `{"text":"a","max_new_tokens":1,"sampling_params":{"temperature":-1}}`,
		"too many new tokens":      `{"text":"a","max_new_tokens":2}`,
	}
}

func TestRealSGLangLivesThroughWhatWouldEndIt(t *testing.T) {
	for _, tokenizer := range []string{upstream.TokenizerAuto, upstream.TokenizerNone} {
		r, c := realSGLang(t, func(c *Config) { c.Upstream.Tokenizer = tokenizer })
		for name, body := range deadly() {
			t.Run(tokenizer+"/"+name, func(t *testing.T) {
				got := r.post(body)
				if got.code != 400 || !strings.Contains(got.body, `"code":3`) {
					t.Errorf("%d %.300s", got.code, got.body)
				}
				if err := c.Ready(t.Context()); err != nil {
					t.Fatalf("SGLang: %v", err)
				}
			})
		}
		if _, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "still there", MaxNewTokens: 1}); err != nil {
			t.Error(err)
		}
	}
}

// What the fake server shows of the table holds with no SGLang at hand.
func TestWhatEndsSGLangIsNeverSent(t *testing.T) {
	path, tok := bytesTokenizer(t, t.TempDir())
	f := newFake(t)
	f.encode = tok.Encode
	r := start(t, f, func(c *Config) { c.Upstream.Tokenizer, c.Upstream.VocabSize = path, 151_936 })
	for name, body := range deadly() {
		if got := r.post(body); got.code != 400 || !strings.Contains(got.body, `"code":3`) {
			t.Errorf("%s: %d %.300s", name, got.code, got.body)
		}
	}
	if calls := f.seen(); len(calls) > 0 {
		t.Errorf("sent: %.300s", fmt.Sprint(calls))
	}
}

func TestRealSGLangTokenizesAsTheProxyDoes(t *testing.T) {
	r, _ := realSGLang(t, nil)
	if sent := r.up.Snapshot().Texts; !strings.HasPrefix(sent, "as token ids") {
		t.Errorf("texts are sent %s", sent)
	}
}

func TestRealSGLangScoresAreTheSameThroughTheProxy(t *testing.T) {
	r, c := realSGLang(t, nil)
	start := 0
	straight := sglang.Request{
		RID: sglang.NewRID(), Text: "def add(a, b):\n    return a + b\n", MaxNewTokens: 1,
		Logprobs: &sglang.LogprobOptions{PromptStart: &start, TopK: 3, TokenIDs: []int32{5, 700}},
	}
	flush := func() {
		if err := c.FlushCache(t.Context(), 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	flush()
	want, err := c.Generate(t.Context(), sglang.Call{Requests: []sglang.Request{straight}})
	if err != nil || want[0].Err != nil {
		t.Fatal(err, want)
	}
	flush()
	prompt := uint32(0)
	req := &pb.PrefillRequest{
		Text: straight.Text, MaxNewTokens: 1,
		Logprobs: &pb.LogprobOptions{PromptStart: &prompt, TopK: 3, TokenIds: []int32{5, 700}},
	}
	overGRPC, err := r.prefill.Prefill(r.context(), req)
	if err != nil {
		t.Fatal(err)
	}
	flush()
	body, err := protojson.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	overREST := new(pb.PrefillResponse)
	if err := protojson.Unmarshal([]byte(r.post(string(body)).body), overREST); err != nil {
		t.Fatal(err)
	}
	meta := want[0].Answer.Meta
	for name, got := range map[string]*pb.PrefillResponse{"gRPC": overGRPC, "REST": overREST} {
		l := got.GetLogprobs()
		prompt, completion := l.GetPrompt(), l.GetCompletion()
		if len(prompt) != len(meta.InputTokenLogprobs) || len(completion) != 1 || len(prompt) < 10 {
			t.Fatalf("%s: %d and %d tokens, SGLang has %d and %d", name, len(prompt), len(completion), len(meta.InputTokenLogprobs),
				len(meta.OutputTokenLogprobs))
		}
		for i, p := range prompt {
			same(t, fmt.Sprintf("%s, prompt[%d]", name, i), []*pb.Token{p.GetToken()}, meta.InputTokenLogprobs[i:i+1])
			same(t, fmt.Sprintf("%s, prompt[%d].top", name, i), p.GetTop(), meta.InputTopLogprobs[i])
			same(t, fmt.Sprintf("%s, prompt[%d].chosen", name, i), p.GetChosen(), meta.InputIDsLogprobs[i])
		}
		same(t, name+", first token", []*pb.Token{completion[0].GetToken()}, meta.OutputTokenLogprobs)
		same(t, name+", first token.top", completion[0].GetTop(), meta.OutputTopLogprobs[0])
		same(t, name+", first token.chosen", completion[0].GetChosen(), meta.OutputIDsLogprobs[0])
	}
}

// same checks that all numbers are equal to the last bit.
func same(t *testing.T, what string, got []*pb.Token, want []sglang.TokenLogprob) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d entries, want %d", what, len(got), len(want))
		return
	}
	for i, w := range want {
		g := got[i]
		if int(g.GetId()) != w.ID || (g.Logprob == nil) != (w.Logprob == nil) || g.GetLogprob() != deref(w.Logprob) {
			t.Errorf("%s: %v, want %d %v", what, g, w.ID, deref(w.Logprob))
		}
	}
}

func deref(x *float64) float64 {
	if x == nil {
		return 0
	}
	return *x
}

// A list with a bad element among good ones fails only that one.
func TestRealSGLangAnswersTheNeighboursOfABadPrompt(t *testing.T) {
	r, _ := realSGLang(t, func(c *Config) {
		c.Upstream.Tokenizer = upstream.TokenizerNone
		c.Settings.MaxWait = 100 * time.Millisecond
	})
	var ends []<-chan outcome
	for i := range 16 {
		text := fmt.Sprintf("prompt %d", i)
		if i == 5 {
			text = strings.Repeat("too long ", 40_000)
		}
		ends = append(ends, r.send(r.context(), &pb.PrefillRequest{Text: text}))
	}
	for i, end := range ends {
		if o := <-end; (i == 5) != (status.Code(o.err) == codes.InvalidArgument) || i != 5 && o.err != nil {
			t.Errorf("%d: %.200s", i, fmt.Sprint(o.err))
		}
	}
}

// Scores, their order and usage are those of a request sent straight. Which of two nearly
// equal options is chosen depends on the batch that a prompt is part of.
func TestRealSGLangScoresInPartsAsItDoesWhole(t *testing.T) {
	r, c := realSGLang(t, nil)
	for path, bodies := range scoringBodies() {
		if path == "/v1/rerank" {
			continue // TestRealReranker… has it: it needs a chat template of its own
		}
		for _, body := range bodies {
			var whole, parts any
			for url, answer := range map[string]*any{c.URL(): &whole, "http://" + r.HTTPAddr(): &parts} {
				if err := c.FlushCache(t.Context(), 10*time.Second); err != nil {
					t.Fatal(err)
				}
				code, text := ask(t, http.MethodPost, url+path, body)
				if err := json.Unmarshal([]byte(text), answer); code != http.StatusOK || err != nil {
					t.Fatalf("%s: %d %s", path, code, text)
				}
			}
			near(t, path, parts, whole)
		}
	}
}

// near checks that two JSON values differ at most by 1 % in a number.
func near(t *testing.T, where string, got, want any) {
	t.Helper()
	switch w := want.(type) {
	case map[string]any:
		g, _ := got.(map[string]any)
		if len(g) != len(w) {
			t.Errorf("%s: %v, want %v", where, got, want)
		}
		for name, value := range w {
			if name != "choice" {
				near(t, where+"."+name, g[name], value)
			}
		}
	case []any:
		g, _ := got.([]any)
		if len(g) != len(w) {
			t.Errorf("%s: %v, want %v", where, got, want)
			return
		}
		for i, value := range w {
			near(t, fmt.Sprintf("%s[%d]", where, i), g[i], value)
		}
	case float64:
		if g, ok := got.(float64); !ok || math.Abs(g-w) > 1e-2*math.Abs(w) {
			t.Errorf("%s: %v, want %v", where, got, want)
		}
	default:
		if got != want {
			t.Errorf("%s: %v, want %v", where, got, want)
		}
	}
}
