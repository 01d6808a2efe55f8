package sim

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// deadly are calls that stop SGLang 0.5.23, by path and body, but for two: it refuses ids in
// logit_bias and token_ids_logprob.
func deadly() (calls [][2]string) {
	for _, body := range []string{
		`{"text":"","sampling_params":{"max_new_tokens":0}}`,
		`{"text":["a","","b"]}`,
		`{"input_ids":[[1,2],[],[3]]}`,
		`{"input_ids":[151936]}`,
		`{"input_ids":[-1]}`,
		`{"input_ids":[1000000000000]}`,
		`{"input_ids":[[1],[4294967297]]}`, // 1 in 32 bits
		`{"text":"a","return_logprob":true,"top_logprobs_num":151937,"sampling_params":{"max_new_tokens":0}}`,
		`{"text":["a","b"],"return_logprob":true,"top_logprobs_num":[0,1000000]}`,
		`{"text":"a","return_logprob":true,"token_ids_logprob":[5,151936]}`,
		`{"text":"a","return_logprob":true,"token_ids_logprob":[-1]}`,
		`{"text":"a","positional_embed_overrides":[[1]],"sampling_params":{"max_new_tokens":0}}`,
		`{"text":"a","positional_embed_overrides":{}}`,
	} {
		calls = append(calls, [2]string{"/generate", body})
	}
	for _, sampling := range []string{
		`"%s":1,"%s":1,"stop_token_ids":[9999999]`, `"%s":4,"%s":1,"stop_token_ids":[5,151937]`, `"%s":1,"%s":1,"stop_token_ids":[-1]`,
		`"%s":2,"%s":2,"stop_token_ids":[99999999999999999999]`,
		`"%s":1,"%s":0,"temperature":0.01,"logit_bias":{"5":3.4e38}`, `"%s":1,"%s":0,"logit_bias":{"5":1e999}`,
		`"%s":1,"%s":0,"logit_bias":{"151936":1}`, `"%s":1,"%s":0,"logit_bias":{"-1":1}`,
	} {
		native := fmt.Sprintf(sampling, "max_new_tokens", "min_new_tokens")
		openAI := fmt.Sprintf(sampling, "max_tokens", "min_tokens")
		calls = append(calls,
			[2]string{"/generate", `{"text":"a","sampling_params":{` + native + `}}`},
			[2]string{"/generate", `{"text":["a","b"],"sampling_params":[{"max_new_tokens":0},{` + native + `}]}`},
			[2]string{"/vertex_generate", `{"instances":[{"text":"a"}],"parameters":{"sampling_params":{` + native + `}}}`},
			[2]string{"/v1/completions", `{"model":"m","prompt":"a",` + openAI + `}`},
			[2]string{"/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"a"}],` + openAI + `}`})
	}
	return append(calls,
		[2]string{"/v1/completions", `{"model":"m","prompt":["a",""]}`},
		[2]string{"/v1/completions", `{"model":"m","prompt":[5,-1]}`},
		[2]string{"/v1/completions", `{"model":"m","prompt":[[5],[151936]]}`},
		[2]string{"/v1/completions", `{"model":"m","prompt":"a","max_tokens":1,"logprobs":1000000}`},
		[2]string{"/v1/chat/completions", `{"messages":[{"role":"user","content":"a"}],"max_tokens":1,"logprobs":true,"top_logprobs":1000000}`},
		[2]string{"/vertex_generate", `{"instances":[{"z":1}],"parameters":{"text":"","sampling_params":{"max_new_tokens":1}}}`},
		[2]string{"/vertex_generate", `{"instances":[{"text":"a"},{"text":""}]}`},
		[2]string{"/vertex_generate", `{"instances":[{"input_ids":[1]},{"input_ids":[-1]}]}`},
		[2]string{"/vertex_generate", `{"instances":[{"text":"a"}],"parameters":{"positional_embed_overrides":[[1]]}}`},
	)
}

// SGLang survives what comes near to deadly (measured).
func TestWhatIsNearlyDeadlyIsAnswered(t *testing.T) {
	bubble(t, small(), func(t *testing.T, s *Server) {
		for _, c := range [][2]string{
			{"/generate", `{"text":"a","sampling_params":{"max_new_tokens":1,"stop_token_ids":[9999999]}}`},
			{"/generate", `{"text":"a","sampling_params":{"max_new_tokens":1,"min_new_tokens":1,"stop_token_ids":[151936]}}`},
			{"/generate", `{"text":"a","sampling_params":{"max_new_tokens":1,"temperature":0.01,"logit_bias":{"5":-3.4e38}}}`},
			{"/generate", `{"text":"a","sampling_params":{"max_new_tokens":1,"temperature":0,"logit_bias":{"5":3.4e38}}}`},
			{"/generate", `{"text":"a","top_logprobs_num":1000000,"sampling_params":{"max_new_tokens":1}}`},
			{"/generate", `{"text":"a","positional_embed_overrides":null,"sampling_params":{"max_new_tokens":1}}`},
			{"/v1/completions", `{"model":"m","prompt":"a","max_tokens":1,"stop_token_ids":[9999999]}`},
		} {
			if w := do(t.Context(), s, "POST", c[0], c[1]); w.Code != 200 {
				t.Errorf("%s %s: %d %s", c[0], c[1], w.Code, w.Body)
			}
		}
	})
}

// Tens of MiB of text keep the front end from all else until they are tokenized, although
// they are refused.
func TestHugeTextHoldsEverybodyUp(t *testing.T) {
	p := small()
	p.TokenizeSecondsPerByte = 1e-5
	bubble(t, p, func(t *testing.T, s *Server) {
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			w := do(t.Context(), s, "POST", "/generate", `{"text":"`+strings.Repeat("a", 2e6)+`","sampling_params":{"max_new_tokens":0}}`)
			if w.Code != 400 {
				t.Errorf("%d %.200s", w.Code, w.Body)
			}
		})
		time.Sleep(time.Millisecond)
		read(t, s, [][]int32{{1, 2}})
		if took := time.Since(start); took < 20*time.Second {
			t.Errorf("the neighbour waited %v", took)
		}
		wg.Wait()
	})
}

func TestOtherPathsAnswerInTheirShapes(t *testing.T) {
	bubble(t, small(), func(t *testing.T, s *Server) {
		for _, c := range []struct {
			path, body string
			status     int
			want       []string
		}{
			{"/v1/completions", `{"model":"m","prompt":["a b","c"],"max_tokens":2}`, 200,
				[]string{`"object":"text_completion"`, `"index":1`, `"completion_tokens":4`, `"finish_reason":"length"`}},
			{"/v1/completions", `{"model":"m","prompt":[1,2,3],"max_tokens":1}`, 200, []string{`"prompt_tokens":3`}},
			{"/v1/completions", `{"model":"m","prompt":"a","max_tokens":2,"stream":true}`, 200, []string{`data: {"choices":[{`, "data: [DONE]"}},
			{"/v1/completions", `{"model":"m","prompt":""}`, 400, []string{`"object":"error"`, `"message":"Prompt cannot be empty"`}},
			{"/v1/chat/completions", `{"messages":[{"role":"user","content":"hello"}],"max_tokens":2}`, 200,
				[]string{`"object":"chat.completion"`, `"role":"assistant"`, `"message":{`}},
			{"/v1/chat/completions", `{"messages":[{"role":"user","content":"hello"}],"max_tokens":2,"stream":true}`, 200,
				[]string{`"object":"chat.completion.chunk"`, `"delta":{`, "data: [DONE]"}},
			{"/vertex_generate", `{"instances":[{"text":"a"},{"text":"b"}],"parameters":{"sampling_params":{"max_new_tokens":1}}}`, 200,
				[]string{`{"predictions":[{"text":`, `"meta_info"`}},
			{"/vertex_generate", `{"instances":[{"text":"a"}],"parameters":{"sampling_params":{"max_new_tokens":-1}}}`, 400,
				[]string{`{"error":{"message":"max_new_tokens must be`}},
			{"/v1/embeddings", `{"model":"m","input":"a"}`, 400, []string{`"object":"error"`, "embedding model"}},
		} {
			w := do(t.Context(), s, "POST", c.path, c.body)
			for _, want := range c.want {
				if w.Code != c.status || !strings.Contains(w.Body.String(), want) {
					t.Errorf("%s %s: %d %s, want %s", c.path, c.body, w.Code, w.Body, want)
				}
			}
		}
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
	post := func(path, body string) error { // nil for an answer of any status
		res, err := http.Post(url+path, "application/json", strings.NewReader(body))
		if err == nil {
			err = res.Body.Close()
		}
		return err
	}
	for i, d := range deadly() {
		deadly, path := d[1], d[0]
		neighbour := make(chan error, 1)
		go func() {
			neighbour <- post("/generate", `{"input_ids":[1,2,3],"sampling_params":{"max_new_tokens":2000}}`)
		}()
		for running := 0; running == 0; { // until the neighbour is at work
			_, running, _ = s.scheduler.snapshot()
			time.Sleep(time.Millisecond)
		}
		if err := post(path, deadly); err == nil {
			t.Errorf("%s %s: answered", path, deadly)
		}
		if err := <-neighbour; err == nil {
			t.Errorf("%s: the neighbour was answered", deadly)
		}
		if st := s.Stats(); st.Crashes != int64(i+1) {
			t.Errorf("%s: %d crashes", deadly, st.Crashes)
		}
		if err := post("/generate", `{"input_ids":[1,2,3],"sampling_params":{"max_new_tokens":0}}`); err != nil {
			t.Errorf("%s: does not serve again: %v", deadly, err)
		}
	}
}

func TestServerThatDiedBeginsAnewAtOnce(t *testing.T) {
	p := small()
	p.ForwardSeconds = 10
	bubble(t, p, func(t *testing.T, s *Server) {
		dropped := func(path, body string) (dropped bool) {
			defer func() { dropped = recover() != nil }()
			do(t.Context(), s, "POST", path, body)
			return false
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if !dropped("/generate", `{"text":["a","b"]}`) {
				t.Error("the neighbour was answered")
			}
		})
		time.Sleep(time.Second) // the neighbour is in its forward
		wg.Go(func() {
			if !dropped("/flush_cache?timeout=60", "") {
				t.Error("the flush was answered")
			}
		})
		time.Sleep(time.Second)
		wg.Go(func() {
			if !dropped("/generate", `{"text":""}`) {
				t.Error("the deadly call was answered")
			}
		})
		time.Sleep(time.Millisecond)
		s.front.reserve(time.Now(), time.Minute) // of a call behind it
		wg.Wait()
		start := time.Now()
		if got := read(t, s, [][]int32{{1, 2}}); got[0].Meta.CachedTokens != 0 {
			t.Error("the cache was not lost")
		}
		if took, want := time.Since(start), 10*time.Second+11*time.Millisecond+200*time.Microsecond; took != want {
			t.Errorf("the next call took %v, want %v", took, want)
		}
	})
}
