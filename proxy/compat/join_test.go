package compat

import "testing"

func TestAnswersAreJoinedAsSGLangWroteThem(t *testing.T) {
	score := scorings["/v1/score"].answer
	for name, c := range map[string]struct {
		shape              answerShape
		fields             string
		leader, rest, want string // no want: it can't be joined
		n                  int
	}{
		"scores": {
			score, `{}`,
			`{"scores":[[6.581651719032332e-6,1e-999]],"token_logprobs":null,"pooled_hidden_states":[[1.50]],"model":"m",` +
				`"usage":{"prompt_tokens":3,"x":null}}`,
			`{"scores":[[0.10],[2]],"token_logprobs":null,"pooled_hidden_states":[null,[2]],"model":"m",` +
				`"usage":{"prompt_tokens":4,"x":null},"new":{"a":[]}}`,
			`{"scores":[[6.581651719032332e-6,1e-999],[0.10],[2]],"token_logprobs":null,"pooled_hidden_states":[[1.50],null,[2]],"model":"m",` +
				`"usage":{"prompt_tokens":7,"x":null},"new":{"a":[]}}`, 3,
		},
		"usage in objects": {
			score, `{}`,
			`{"scores":[1],"usage":{"prompt_tokens_details":{"cached_tokens":0}}}`,
			`{"scores":[2],"usage":{"prompt_tokens_details":{"cached_tokens":9}}}`,
			`{"scores":[1,2],"usage":{"prompt_tokens_details":{"cached_tokens":9}}}`, 2,
		},
		"empty usage":          {score, `{}`, `{"scores":[1],"usage":{}}`, `{"scores":[2],"usage":{}}`, `{"scores":[1,2],"usage":{}}`, 2},
		"usage in a list":      {score, `{}`, `{"scores":[1],"usage":[ ]}`, `{"scores":[2],"usage":[]}`, "", 2},
		"usage of one part":    {score, `{}`, `{"scores":[1],"usage":{"a":null}}`, `{"scores":[2],"usage":{"a":1}}`, "", 2},
		"no usage in one part": {score, `{}`, `{"scores":[1]}`, `{"scores":[2],"usage":{"a":1}}`, "", 2},
		"rows of one part":     {score, `{}`, `{"scores":[1],"token_logprobs":null}`, `{"scores":[2],"token_logprobs":[3]}`, "", 2},
		"a list and an object": {score, `{}`, `{"scores":[1]}`, `{"scores":{"a":2}}`, "", 2},
		"a name": {
			scorings["/v1/systemone"].answer, `{}`,
			`{"answers":{"\u00e9":{"x_label_mass":1}},"usage":{"input_tokens":1}}`,
			`{"answers":{"a":{"x_label_mass":2}},"usage":{"input_tokens":2}}`,
			`{"answers":{"\u00e9":{"x_label_mass":1},"a":{"x_label_mass":2}},"usage":{"input_tokens":3}}`, 2,
		},
		"equal scores": {
			ranking{}, `{"top_n":3}`,
			`[{"score":0.50,"document":"d0","index":0,"meta_info":null}]`,
			`[{"score":0.9,"index":2},{"score":0.5,"index":0,"document":"index"},{"score":0.5,"index":1}]`,
			`[{"score":0.9,"index":3},{"score":0.50,"document":"d0","index":0,"meta_info":null},{"score":0.5,"index":1,"document":"index"}]`, 4,
		},
	} {
		if !c.shape.has([]byte(c.leader), 1) || !c.shape.has([]byte(c.rest), c.n-1) {
			t.Errorf("%s: a part has not the shape", name)
			continue
		}
		fields, err := readObject([]byte(c.fields), "anything", bounds{})
		if err != nil {
			t.Fatal(err)
		}
		got, ok := c.shape.join([]byte(c.leader), []byte(c.rest), fields)
		if string(got) != c.want || ok != (c.want != "") {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, ok, got, c.want)
		}
	}
}

func TestAnswersOfAnotherShapeAreSeen(t *testing.T) {
	for path, answers := range map[string][]string{
		"/v1/score":     {``, `7`, `{}`, `{"scores":null}`, `{"scores":[1,2]}`, `{"scores":[1],"token_logprobs":[1,2]}`, `{"scores":[1]`, `[1]`},
		"/v1/systemone": {`{"answers":{"a":{"noul":1}}}`, `{"answers":{"a":7}}`},
		"/v1/rerank":    {`[]`, `{}`, `[{"score":1}]`, `[{"index":0}]`, `[{"score":1,"index":0,"meta_info":{"id":"x"}}]`, `[7]`},
	} {
		for _, answer := range answers {
			if scorings[path].answer.has([]byte(answer), 1) {
				t.Errorf("%s: %s", path, answer)
			}
		}
	}
}
