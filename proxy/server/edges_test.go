package server

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "paceline/proto/paceline/v1"
	"paceline/proxy/upstream"
	"paceline/sglang"
)

// edge is a call that ends SGLang 0.5.23 if it reaches it, or keeps it from all others.
type edge struct{ kind, path, body string }

// edges are the kinds of calls that were seen to end SGLang, on every path that takes them.
func edges() (all []edge) {
	add := func(kind, path, body string) { all = append(all, edge{kind, path, body}) }
	sampled := func(kind, params string) { // max_new_tokens and min_new_tokens are the two gaps
		native, openAI := fmt.Sprintf(params, "max_new_tokens", "min_new_tokens"), fmt.Sprintf(params, "max_tokens", "min_tokens")
		add(kind, "/generate", `{"text":"a","sampling_params":{`+native+`}}`)
		add(kind, "/generate", `{"text":["a","b"],"sampling_params":[{"max_new_tokens":0},{`+native+`}]}`)
		add(kind, "/generate", `{"input_ids":[[5],[6]],"stream":true,"sampling_params":{`+native+`}}`)
		add(kind, "/v1/completions", `{"model":"tiny","prompt":"a",`+openAI+`}`)
		add(kind, "/v1/completions", `{"model":"tiny","prompt":[[5],[6]],"stream":true,`+openAI+`}`)
		add(kind, "/v1/chat/completions", `{"model":"tiny","messages":[{"role":"user","content":"a"}],`+openAI+`}`)
		add(kind, "/vertex_generate", `{"instances":[{"text":"a"}],"parameters":{"sampling_params":{`+native+`}}}`)
	}
	for _, ids := range []string{"[9999999]", "[5,151937]", "[-1]", "[99999999999999999999]"} {
		sampled("stop token", `"%s":4,"%s":1,"stop_token_ids":`+ids)
	}
	sampled("bias overflow", `"%s":1,"%s":0,"temperature":0.01,"logit_bias":{"5":3.4e38}`)
	sampled("bias overflow", `"%s":1,"%s":0,"temperature":0.00001,"logit_bias":{"5":1e36}`)
	sampled("bias id", `"%s":1,"%s":0,"logit_bias":{"151936":1}`)
	for _, n := range []string{"151937", "1000000", "99999999999999999999"} {
		add("top logprobs", "/generate", `{"text":"a","return_logprob":true,"top_logprobs_num":`+n+`,"sampling_params":{"max_new_tokens":1}}`)
		add("top logprobs", "/generate",
			`{"text":["a","b"],"return_logprob":true,"top_logprobs_num":[1,`+n+`],"sampling_params":{"max_new_tokens":1}}`)
		add("top logprobs", "/v1/completions", `{"model":"tiny","prompt":"x","max_tokens":1,"logprobs":`+n+`}`)
		add("top logprobs", "/v1/chat/completions",
			`{"model":"tiny","messages":[{"role":"user","content":"a"}],"max_tokens":1,"logprobs":true,"top_logprobs":`+n+`}`)
		add("top logprobs", "/vertex_generate",
			`{"instances":[{"text":"a"}],"parameters":{"return_logprob":true,"top_logprobs_num":`+n+`,"sampling_params":{"max_new_tokens":1}}}`)
	}
	for _, overrides := range []string{`[[1]]`, `{}`} {
		field := `"positional_embed_overrides":` + overrides
		add("embed overrides", "/generate", `{"text":"a",`+field+`,"sampling_params":{"max_new_tokens":0}}`)
		add("embed overrides", "/vertex_generate", `{"instances":[{"text":"a"}],"parameters":{`+field+`,"sampling_params":{"max_new_tokens":1}}}`)
	}
	add("vertex parameters", "/vertex_generate", `{"instances":[{"z":1}],"parameters":{"text":"","sampling_params":{"max_new_tokens":1}}}`)
	add("vertex parameters", "/vertex_generate",
		`{"instances":[{"z":1}],"parameters":{"input_ids":[-1],"sampling_params":{"max_new_tokens":1}}}`)
	add("vertex instances", "/vertex_generate",
		`{"instances":[{"text":"a"},{"text":""}],"parameters":{"sampling_params":{"max_new_tokens":1}}}`)
	add("vertex instances", "/vertex_generate", `{"instances":[{"input_ids":[5]},{"input_ids":[151936]}]}`)
	add("prompt", "/generate", `{"input_ids":[5,-1],"sampling_params":{"max_new_tokens":0}}`)
	add("prompt", "/generate", `{"text":["a","","b"],"sampling_params":{"max_new_tokens":0}}`)
	add("prompt", "/v1/completions", `{"model":"tiny","prompt":["a",""],"max_tokens":1}`)
	add("prompt", "/v1/completions", `{"model":"tiny","prompt":[5,151936],"max_tokens":1}`)
	add("own contract", "/v1/prefill", `{"text":"a","max_new_tokens":1,"sampling_params":{"temperature":0.01,"logit_bias":{"5":3.4e38}}}`)
	add("abort all", "/abort_request", `{"rid":"x","abort_all":true,"Abort_All":false}`)
	add("abort all", "/abort_request", `{"rid":"x","abort_all":false,"abort_all":true}`)
	add("huge text", "/generate", `{"text":"`+strings.Repeat("a ", 20<<20)+`","sampling_params":{"max_new_tokens":0}}`)
	return all
}

// neighbours are prompts that share batches with edges. Each forces a token of its own, so
// that an answer tells whose it is.
func neighbours() (calls []*pb.PrefillRequest, straight []sglang.Request) {
	for i := range int32(6) {
		calls = append(calls, &pb.PrefillRequest{
			TokenIds: slices.Repeat([]int32{100 + i}, int(i)+3), MaxNewTokens: 1,
			SamplingParams: &pb.SamplingParams{LogitBias: map[int32]float32{200 + i: 100}},
		})
		straight = append(straight, sglang.Request{
			RID: sglang.NewRID(), InputIDs: calls[i].GetTokenIds(), MaxNewTokens: 1,
			Sampling: sglang.Sampling{LogitBias: map[int32]float32{200 + i: 100}},
		})
	}
	return calls, straight
}

// survive sends all edges through a proxy, each among neighbours. It wants each edge refused
// and each neighbour answered as it is without a proxy.
func survive(t *testing.T, r *running, c *sglang.Client, alive func() error) {
	calls, straight := neighbours()
	want, err := c.Generate(t.Context(), sglang.Call{Requests: straight})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range edges() {
		var ends []<-chan outcome
		for _, call := range calls[:3] {
			ends = append(ends, r.send(r.context(), call))
		}
		var code int
		var answer string
		var wg sync.WaitGroup
		wg.Go(func() { code, answer = ask(t, "POST", r.url(e.path), e.body) })
		for _, call := range calls[3:] {
			ends = append(ends, r.send(r.context(), call))
		}
		wg.Wait()
		if code < 400 || code >= 500 {
			t.Errorf("%s: %s %.200s: %d %.300s", e.kind, e.path, e.body, code, answer)
		}
		for i, end := range ends {
			o, meta := <-end, want[i].Answer.Meta
			if o.err != nil || o.reply.GetFirstToken().GetId() != want[i].Answer.OutputIDs[0] ||
				o.reply.GetPromptTokens() != uint32(meta.PromptTokens) || o.reply.GetCompletionTokens() != uint32(meta.CompletionTokens) {
				t.Errorf("a neighbour of %s %.200s: %v, %v", e.path, e.body, o.reply, o.err)
			}
		}
		if err := alive(); err != nil {
			t.Errorf("SGLang after %s %.200s: %v", e.path, e.body, err)
		}
	}
	again, err := c.Generate(t.Context(), sglang.Call{Requests: straight})
	for i := range again {
		if again[i].Err != nil || again[i].Answer.OutputIDs[0] != want[i].Answer.OutputIDs[0] {
			t.Errorf("asked again: %+v", again[i])
		}
	}
	if err != nil {
		t.Error(err)
	}
}

func quickly(c *Config) { c.Settings.MaxWait = 5 * time.Millisecond }

func TestWhatEndsSGLangIsRefusedOnEveryPath(t *testing.T) {
	s, url := simulated(t)
	c, err := sglang.NewClient(url, sglang.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdle()
	r := start(t, &fakeSGLang{addr: strings.TrimPrefix(url, "http://")}, quickly)
	survive(t, r, c, func() error {
		if n := s.Stats().Crashes; n > 0 {
			return fmt.Errorf("%d crashes", n)
		}
		return nil
	})
}

func TestRealSGLangLivesThroughAllEdges(t *testing.T) {
	for _, tokenizer := range []string{upstream.TokenizerAuto, upstream.TokenizerNone} {
		r, c := realSGLang(t, func(c *Config) { quickly(c); c.Upstream.Tokenizer = tokenizer })
		survive(t, r, c, func() error { return c.Ready(t.Context()) })
	}
}
