package compat

import (
	"encoding/json"
	"slices"
	"testing"

	"paceline/proxy/upstream"
)

func FuzzGenerateBodyIsBatchedWholeOrNotAtAll(f *testing.F) {
	for _, body := range []string{
		`{"text":"a b","sampling_params":{"max_new_tokens":0}}`,
		`{"text":["a","b"],"rid":"x","sampling_params":[{"max_new_tokens":1,"temperature":0},{"max_new_tokens":0}]}`,
		`{"input_ids":[[1,2],[3]],"return_logprob":true,"logprob_start_len":[0,-1],"sampling_params":{"max_new_tokens":1,"logit_bias":{"5":1}}}`,
		`{"input_ids":[5,-1],"sampling_params":{"max_new_tokens":1}}`,
		`{"text":"","sampling_params":{"max_new_tokens":1}}`,
		`{"text":["a",""],"sampling_params":{"max_new_tokens":1}}`,
		`{"text":"a","token_ids_logprob":[1000],"sampling_params":{"max_new_tokens":1}}`,
		`{"text":"\ud800","sampling_params":{"max_new_tokens":0}}`,
		`{"text":"a","sampling_params":{"max_new_tokens":1,"logit_bi\u0061s":{"-1":1}}}`,
	} {
		f.Add([]byte(body))
	}
	l := upstream.Limits{VocabSize: 1000, MaxPromptTokens: 100}
	f.Fuzz(func(t *testing.T, body []byte) {
		fields, err := readObject(body, "generate", bounds{Limits: l, elements: 100})
		if err != nil {
			return
		}
		call := parseGenerate(fields)
		if call == nil {
			return
		}
		call.limits = l
		if len(call.prompts) == 0 || len(call.rids) != len(call.prompts) || !call.list && len(call.prompts) != 1 {
			t.Fatalf("%+v", call)
		}
		for i := range call.prompts {
			p, err := call.check(i, l)
			if err != nil {
				continue
			}
			r := p.Request
			if (r.Text == "") == (len(r.InputIDs) == 0) || r.MaxNewTokens < 0 || r.MaxNewTokens > 1 || !json.Valid(r.Sampling.Raw) ||
				slices.ContainsFunc(r.InputIDs, func(id int32) bool { return id < 0 || id >= 1000 }) {
				t.Errorf("%+v was let through", r)
			}
		}
	})
}
