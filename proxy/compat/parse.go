package compat

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"

	"paceline/proxy/upstream"
	"paceline/sglang"
)

// generateCall is a call of /generate that can be batched.
type generateCall struct {
	list    bool
	text    bool              // prompts came as texts
	prompts []upstream.Prompt // without rids of ours
	rids    []string          // the client's; "" for none

	limits upstream.Limits // that the body was read by
}

// Fields and sampling parameters of a call that can be batched: those that were seen to
// work for each prompt of a list, and priority, which is equal within a batch.
var (
	batchedFields = []string{
		"text", "input_ids", "sampling_params", "rid", "return_logprob", "logprob_start_len", "top_logprobs_num",
		"token_ids_logprob", "stream", "cache_salt", "lora_path", "priority",
	}
	batchedSampling = []string{
		"max_new_tokens", "temperature", "top_p", "top_k", "min_p", "sampling_seed", "logit_bias", "n",
		"ignore_eos", "stop", "stop_token_ids", "min_new_tokens", "frequency_penalty", "presence_penalty", "repetition_penalty",
		"skip_special_tokens", "spaces_between_special_tokens", "no_stop_trim",
	}
	// offFields ask for nothing if they are false. Some clients always send them.
	offFields = []string{
		"return_routed_experts", "return_hidden_states", "return_text_in_logprobs", "return_prompt_token_ids", "return_bytes",
		"require_reasoning",
	}
)

// parseGenerate reads a call of /generate. It returns nil if the call can't be batched: it
// generates, streams, or has a field that is not known to work in a list or has an
// unexpected type.
func parseGenerate(fields map[string]json.RawMessage) *generateCall {
	for name, raw := range fields {
		off := slices.Contains(offFields, name) && string(bytes.TrimSpace(raw)) == "false"
		if !isNull(raw) && !off && !slices.Contains(batchedFields, name) {
			return nil
		}
	}
	c := &generateCall{}
	if !c.readPrompts(fields) || len(c.prompts) == 0 {
		return nil
	}
	for _, read := range []func(map[string]json.RawMessage) bool{c.readSampling, c.readLogprobs, c.readNames, c.readRIDs} {
		if !read(fields) {
			return nil
		}
	}
	return c
}

func (c *generateCall) readPrompts(fields map[string]json.RawMessage) bool {
	text, ids := fields["text"], fields["input_ids"]
	if isNull(text) == isNull(ids) { // neither, or both: SGLang takes the text then
		return false
	}
	if !isNull(text) {
		c.text = true
		if one, ok := readText(text); ok {
			c.prompts = []upstream.Prompt{{Request: sglang.Request{Text: one}}}
			return true
		}
		c.list = true
		each, ok := read[[]json.RawMessage](text)
		for _, raw := range each {
			one, isText := readText(raw)
			c.prompts = append(c.prompts, upstream.Prompt{Request: sglang.Request{Text: one}})
			ok = ok && isText
		}
		return ok
	}
	flat, nested := readIDs(ids)
	if c.list = nested != nil; !c.list {
		nested = [][]int32{flat}
	}
	for _, one := range nested {
		c.prompts = append(c.prompts, upstream.Prompt{Request: sglang.Request{InputIDs: one}})
	}
	return len(nested[0]) > 0
}

// readIDs decodes a list of token ids, or a list of such lists, that the reader has
// checked. Of the two it returns the one that raw is; nested is not empty then.
func readIDs(raw json.RawMessage) (flat []int32, nested [][]int32) {
	depth, number := 0, int32(-1) // of the number that is being read; -1 for none
	for _, c := range raw {
		if c >= '0' && c <= '9' {
			number = max(number, 0)*10 + int32(c-'0')
			continue
		}
		if number >= 0 {
			flat, number = append(flat, number), -1
		}
		switch c {
		case '[':
			depth++
		case ']':
			if depth--; depth == 1 {
				flat, nested = nil, append(nested, flat)
			}
		}
	}
	return flat, nested
}

// each calls set for every prompt with its value of a field, which is a list of values or
// one value for all prompts. It skips a field that is absent or null, and returns false if
// a value is missing or has the wrong type.
func each[T any](c *generateCall, raw json.RawMessage, decode func(json.RawMessage) (T, bool), set func(p *upstream.Prompt, v T)) bool {
	if isNull(raw) {
		return true
	}
	if one, ok := decode(raw); ok {
		for i := range c.prompts {
			set(&c.prompts[i], one)
		}
		return true
	}
	values, ok := read[[]json.RawMessage](raw)
	if !ok || !c.list || len(values) != len(c.prompts) {
		return false
	}
	for i, value := range values {
		v, ok := decode(value)
		if !ok {
			return false
		}
		set(&c.prompts[i], v)
	}
	return true
}

// readSampling keeps sampling_params as they are. SGLang sets the defaults of absent
// parameters.
func (c *generateCall) readSampling(fields map[string]json.RawMessage) bool {
	type params struct {
		raw       json.RawMessage
		newTokens int
	}
	decode := func(raw json.RawMessage) (p params, ok bool) {
		said, ok := read[map[string]json.RawMessage](raw)
		if !ok {
			return p, false
		}
		for name := range said {
			if !slices.Contains(batchedSampling, name) {
				return p, false
			}
		}
		if n, set := said["n"]; set && string(bytes.TrimSpace(n)) != "1" {
			return p, false
		}
		tokens, ok := read[int](said["max_new_tokens"]) // the default is 128
		return params{bytes.Clone(bytes.TrimSpace(raw)), tokens}, ok && (tokens == 0 || tokens == 1)
	}
	given := false
	return each(c, fields["sampling_params"], decode, func(p *upstream.Prompt, v params) {
		p.Request.MaxNewTokens, p.Request.Sampling.Raw, p.Request.KeepRaw, given = v.newTokens, v.raw, true, true
	}) && given
}

func (c *generateCall) readLogprobs(fields map[string]json.RawMessage) bool {
	wanted := make(map[*upstream.Prompt]bool, len(c.prompts))
	ok := each(c, fields["return_logprob"], read[bool], func(p *upstream.Prompt, v bool) { wanted[p] = v })
	for i := range c.prompts {
		c.prompts[i].Request.Logprobs = new(sglang.LogprobOptions)
	}
	ok = ok && each(c, fields["logprob_start_len"], read[int], func(p *upstream.Prompt, v int) {
		if v != -1 {
			p.Request.Logprobs.PromptStart = &v
		}
	})
	ok = ok && each(c, fields["top_logprobs_num"], read[int], func(p *upstream.Prompt, v int) { p.Request.Logprobs.TopK = v })
	if !isNull(fields["token_ids_logprob"]) && c.list {
		_, perPrompt := read[[][]int32](fields["token_ids_logprob"])
		ok = ok && perPrompt // one list for a list of prompts is ambiguous
	}
	ok = ok && each(c, fields["token_ids_logprob"], read[[]int32], func(p *upstream.Prompt, v []int32) { p.Request.Logprobs.TokenIDs = v })
	for i := range c.prompts {
		p := &c.prompts[i]
		if !wanted[p] {
			ok = ok && len(p.Request.Logprobs.TokenIDs) == 0 // they would not be checked
			p.Request.Logprobs = nil
		}
	}
	return ok
}

func (c *generateCall) readNames(fields map[string]json.RawMessage) bool {
	if stream, set := fields["stream"]; set && !isNull(stream) {
		if yes, ok := read[bool](stream); !ok || yes {
			return false
		}
	}
	return each(c, fields["cache_salt"], readText, func(p *upstream.Prompt, v string) { p.Request.CacheSalt = v }) &&
		each(c, fields["lora_path"], readText, func(p *upstream.Prompt, v string) { p.LoRA = v }) &&
		each(c, fields["priority"], read[int32], func(p *upstream.Prompt, v int32) { p.Priority = &v }) &&
		(isNull(fields["priority"]) || bytes.TrimSpace(fields["priority"])[0] != '[') // SGLang takes one priority for a call
}

// readText decodes a string.
func readText(raw json.RawMessage) (string, bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	return unquote(raw), true
}

// readRIDs reads the rid of each prompt. One rid for a list becomes rid_0, rid_1 and so on,
// as with SGLang.
func (c *generateCall) readRIDs(fields map[string]json.RawMessage) bool {
	c.rids = make([]string, len(c.prompts))
	raw := fields["rid"]
	if isNull(raw) {
		return true
	}
	if one, ok := readText(raw); ok {
		for i := range c.rids {
			c.rids[i] = one
			if c.list {
				c.rids[i] = one + "_" + strconv.Itoa(i)
			}
		}
		return one != ""
	}
	all, ok := read[[]json.RawMessage](raw)
	if !ok || !c.list || len(all) != len(c.rids) {
		return false
	}
	for i, raw := range all {
		if c.rids[i], ok = readText(raw); !ok || c.rids[i] == "" {
			return false
		}
	}
	return true
}

// check returns prompt i, checked against the current limits of the server. The error is a
// *upstream.FieldError with the client's field names.
func (c *generateCall) check(i int, l upstream.Limits) (*upstream.Prompt, error) {
	p := &c.prompts[i]
	if l != c.limits {
		return nil, upstream.NotReady("SGLang has other limits than when this request came")
	}
	o := p.Request.Logprobs
	if o != nil && o.PromptStart != nil && !c.text && *o.PromptStart > len(p.Request.InputIDs) {
		name := "logprob_start_len"
		if c.list {
			name += "[" + strconv.Itoa(i) + "]"
		}
		return nil, upstream.WrongField(name, "must be at most the prompt's %d tokens, got %d", len(p.Request.InputIDs), *o.PromptStart)
	}
	return p, nil
}
