package sim

import (
	"encoding/json"
	"strings"
	"testing"
)

// where says which servers must give a refusal.
type where uint8

const (
	both    where = iota
	onlySim       // its limits are the test's own, or it simulates no more
)

// refused is a body that /generate does not take.
type refused struct {
	name, body string
	status     int
	want       string // in the answer
	where      where
}

// refusals are those that SGLang 0.5.23 gave, with as much of their words as the simulator has.
func refusals() []refused {
	long := strings.TrimSuffix(strings.Repeat("5,", 2047), ",")
	return []refused{
		{"negative new tokens", `{"text":"a","sampling_params":{"max_new_tokens":-1}}`, 400, `{"error":{"message":"max_new_tokens must be ` +
			`at least 0, got -1."}}`, both},
		{"one bad element", `{"text":["a","b"],"sampling_params":[{"max_new_tokens":0},{"max_new_tokens":-1}]}`, 400,
			`{"error":{"message":"max_new_tokens must be at least 0, got -1."}}`, both},
		{"over the context less six", `{"input_ids":[` + long + `],"sampling_params":{"max_new_tokens":0}}`, 400,
			`{"error":{"message":"Input length (2047 tokens) exceeds the maximum allowed length (2042 tokens). Use a shorter input or enable ` +
				`--allow-auto-truncate."}}`, onlySim},
		{"over the context", `{"input_ids":[[1],[` + long + `,5]],"sampling_params":{"max_new_tokens":0}}`, 400,
			`{"error":{"message":"The input (2048 tokens) is longer than the model's context length (2048 tokens)."}}`, onlySim},
		{"prompt and new tokens", `{"input_ids":[1,2],"sampling_params":{"max_new_tokens":3000}}`, 400,
			`total of 3002 tokens: 2 tokens from the input messages and 3000 tokens for the completion.`, onlySim},
		{"rid list of another length", `{"text":["a","b"],"rid":["x"]}`, 400, `{"error":{"message":"The specified rids length mismatch ` +
			`with the batch_size for batch processing."}}`, both},
		{"rid twice", `{"text":["a","b"],"rid":["d","d"]}`, 400, `{"error":{"message":"Duplicate request IDs detected within the request: ` +
			`['d']"}}`, both},
		{"sampling list of another length", `{"text":["a","b"],"sampling_params":[{}]}`, 500, `Internal Server Error`, both},
		{"sampling list for one prompt", `{"text":"a","sampling_params":[{}]}`, 500, `Internal Server Error`, both},
		{"unknown sampling field", `{"text":"a","sampling_params":{"nonsense":1}}`, 400, "{\"error\":\"unknown field `nonsense`", both},
		{"sampling field of another type", `{"text":"a","sampling_params":{"max_new_tokens":"secret"}}`, 400, `expected i64"}`, both},
		{"sampling field that is not whole", `{"text":"a","sampling_params":{"top_k":1.5}}`, 400, `expected i64"}`, both},
		{"several answers a prompt: not simulated", `{"text":"a","sampling_params":{"n":2}}`, 400, `simulator`, onlySim},
		{"more top log probabilities than are simulated", `{"text":"a","return_logprob":true,"top_logprobs_num":129}`, 400,
			`simulator`, onlySim},
		{"text of another type", `{"text":5}`, 400, `'loc': ('body', 'text'`, both},
		{"null among texts", `{"text":["a",null,"b"]}`, 400, `'loc': ('body', 'text'`, both},
		{"ids of another type", `{"input_ids":["a","b"]}`, 400, `'loc': ('body', 'input_ids'`, both},
		{"a bad id behind a good one in a row", `{"input_ids":[[1],[2,"a"]]}`, 400, `'loc': ('body', 'input_ids'`, both},
		{"a bad first id in a row", `{"input_ids":[[1],["a"]]}`, 400, `'loc': ('body', 'input_ids'`, both},
		{"a fraction among ids", `{"input_ids":[[1.0]]}`, 400, `'loc': ('body', 'input_ids'`, both},
		{"an id beyond 64 bits", `{"input_ids":[1,99999999999999999999]}`, 400, `'loc': ('body', 'input_ids'`, both},
		{"a list among ids", `{"input_ids":[1,[2]]}`, 400, `'loc': ('body', 'input_ids'`, both},
		{"null among ids", `{"input_ids":[1,null]}`, 400, `'loc': ('body', 'input_ids'`, both},
		{"null for a row of ids", `{"input_ids":[[1],null]}`, 400, `'loc': ('body', 'input_ids'`, both},
		{"a number for a row of ids", `{"input_ids":[[1],5]}`, 400, `'loc': ('body', 'input_ids'`, both},
		{"an object for ids", `{"input_ids":[{},[1]]}`, 400, `'loc': ('body', 'input_ids'`, both},
		{"one number for ids", `{"input_ids":5}`, 400, `'loc': ('body', 'input_ids'`, both},
		{"null in a list", `{"text":["a","b"],"cache_salt":["x",null]}`, 400, `cache_salt`, both},
		{"no prompt", `{"rid":"x"}`, 400, `{"error":{"message":"Either text, input_ids or input_embeds should be provided."}}`, both},
		{"a lone empty list of ids", `{"input_ids":[]}`, 400, `{"error":{"message":"input_ids cannot be empty."}}`, both},
		{"JSON that ends early", `{"text": `, 400, `1 validation error`, both},
		{"logprobs from beyond the prompt", `{"text":"a","return_logprob":true,"logprob_start_len":9,` +
			`"sampling_params":{"max_new_tokens":0}}`, 400, `logprob_start_len=9 is higher`, both},
		{"in a stream, an event under 200", `{"text":"a","stream":true,"sampling_params":{"max_new_tokens":-1}}`, 200, `"code":400`, both},
	}
}

func TestRefusalsHaveSGLangsShapes(t *testing.T) {
	bubble(t, small(), func(t *testing.T, s *Server) {
		for _, c := range refusals() {
			w := do(t.Context(), s, "POST", "/generate", c.body)
			if w.Code != c.status || !strings.Contains(unescaped(w.Body.String()), c.want) {
				t.Errorf("%s: %d %.900s", c.name, w.Code, w.Body)
			}
		}
		if st := s.Stats(); st.Crashes != 0 {
			t.Errorf("%d crashes", st.Crashes)
		}
	})
}

// unescaped undoes what encoding/json does to be safe in HTML.
func unescaped(s string) string {
	return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(s)
}

func TestWhatSGLangTakesIsNotRefused(t *testing.T) {
	bubble(t, small(), func(t *testing.T, s *Server) {
		for name, body := range map[string]string{
			"unknown fields":            `{"text":"a","nonsense":1,"sampling_params":{"max_new_tokens":0}}`,
			"text and ids":              `{"text":"a","input_ids":[1],"sampling_params":{"max_new_tokens":0}}`,
			"null for what is left out": `{"text":null,"input_ids":[1],"rid":null,"sampling_params":{"max_new_tokens":1,"n":null}}`,
			"sampling fields that change nothing": `{"text":"a","sampling_params":{"max_new_tokens":1,"n":1,"temperature":0,` +
				`"structural_tag":null,"logit_bias":{"5":1.5},"choice":[]}}`,
			"no top log probabilities": `{"text":"a","return_logprob":true,"top_logprobs_num":-1,"sampling_params":{"max_new_tokens":1}}`,
			"both 0 and 1 new tokens":  `{"text":["a","b"],"sampling_params":[{"max_new_tokens":0},{"max_new_tokens":1}]}`,
		} {
			if w := do(t.Context(), s, "POST", "/generate", body); w.Code != 200 || !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s: %d %.300s", name, w.Code, w.Body)
			}
		}
		if w := do(t.Context(), s, "POST", "/generate", `{"text":[]}`); w.Code != 200 || w.Body.String() != "[]" {
			t.Errorf("empty list: %d %s", w.Code, w.Body)
		}
	})
}
