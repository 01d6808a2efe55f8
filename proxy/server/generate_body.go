package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"paceline/sglang"
)

// generateCall is a call of /generate that can be batched.
type generateCall struct {
	list    bool
	text    bool     // prompts came as texts
	prompts []prompt // without rids of ours
	rids    []string // the client's; "" for none
}

// objectOf reads a body that is to be a JSON object. Go and Python read the same
// object, or it is refused: of a name that comes twice the last counts in both.
func objectOf(body []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(body) {
		return nil, wrongField("body", "must be JSON in UTF-8")
	}
	if tooDeep(body, maxJSONDepth) {
		return nil, wrongField("body", "must not be nested deeper than %d", maxJSONDepth)
	}
	fields, err := fieldsOf(body)
	if err != nil {
		return nil, wrongField("body", "%s", strings.TrimPrefix(bodyError(err).Error(), "the body "))
	}
	if fields == nil {
		return nil, wrongField("body", "must be a JSON object")
	}
	return fields, nil
}

// fieldsOf reads an object's fields in one go: encoding/json would look at each
// byte of a prompt four times, and that was half of a request's cost. The values are
// parts of body. It is nil for JSON that is no object.
func fieldsOf(body []byte) (map[string]json.RawMessage, error) {
	d := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	var fields map[string]json.RawMessage
	if d.PeekKind() == '{' {
		fields = map[string]json.RawMessage{}
		if _, err := d.ReadToken(); err != nil {
			return nil, err
		}
		for d.PeekKind() == '"' {
			name, err := d.ReadToken()
			if err != nil {
				return nil, err
			}
			key := name.String() // before the token is gone
			value, err := d.ReadValue()
			if err != nil {
				return nil, err
			}
			end := int(d.InputOffset())
			fields[key] = json.RawMessage(body[end-len(value) : end : end])
		}
		if _, err := d.ReadToken(); err != nil { // the end of the object, or what is there instead
			return nil, err
		}
	} else if _, err := d.ReadValue(); err != nil {
		return nil, err
	}
	switch _, err := d.ReadToken(); {
	case errors.Is(err, io.EOF):
		return fields, nil
	case err != nil:
		return nil, err
	}
	return nil, errMoreBody
}

// errMoreBody refuses what follows a body's value.
var errMoreBody = errors.New("the body is not JSON: something follows its end")

// maxJSONDepth is how deep a body may be nested: tools in a chat request, the
// deepest that clients send, have some ten levels.
const maxJSONDepth = 64

// tooDeep says whether JSON is nested deeper than limit.
func tooDeep(body []byte, limit int) bool {
	depth := 0
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '"':
			i += stringEnd(body[i+1:]) + 1
		case '{', '[':
			if depth++; depth > limit {
				return true
			}
		case '}', ']':
			depth--
		}
	}
	return false
}

// stringEnd is where the quote is that ends a JSON string; the length of rest where
// there is none.
func stringEnd(rest []byte) int {
	for from := 0; ; {
		n := bytes.IndexByte(rest[from:], '"')
		if n < 0 {
			return len(rest)
		}
		quote := from + n
		slashes := 0
		for quote > slashes && rest[quote-slashes-1] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return quote
		}
		from = quote + 1
	}
}

// What a call may say to be batched: fields and sampling parameters that were seen
// to work per prompt of a list. (priority is one for a call; batches are made of
// equal ones.)
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
	// offFields ask for nothing where they are false, as some clients always say.
	offFields = []string{"return_routed_experts", "return_hidden_states", "return_text_in_logprobs", "return_prompt_token_ids", "return_bytes", "require_reasoning"}
)

// parseGenerate reads a call of /generate. nil means that it can't be batched: it
// generates, streams, or says something that is not known to work in a list, of
// another type than expected, too.
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

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(bytes.TrimSpace(raw)) == "null" }

// read decodes a value of exactly this type; numbers must be whole for integers,
// and null is not a value.
func read[T any](raw json.RawMessage) (v T, ok bool) {
	return v, !isNull(raw) && json.Unmarshal(raw, &v) == nil
}

// readText decodes a string that Go reads as Python does: half a surrogate pair
// is not one.
func readText(raw json.RawMessage) (string, bool) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	text, err := jsontext.AppendUnquote(make([]byte, 0, len(raw)), raw)
	return string(text), err == nil
}

func (c *generateCall) readPrompts(fields map[string]json.RawMessage) bool {
	text, ids := fields["text"], fields["input_ids"]
	if isNull(text) == isNull(ids) { // none, or text beside ids, of which SGLang takes the text
		return false
	}
	if !isNull(text) {
		c.text = true
		if one, ok := readText(text); ok {
			c.prompts = []prompt{{request: sglang.Request{Text: one}}}
			return true
		}
		c.list = true
		each, ok := read[[]json.RawMessage](text)
		for _, raw := range each {
			one, isText := readText(raw)
			c.prompts = append(c.prompts, prompt{request: sglang.Request{Text: one}})
			ok = ok && isText
		}
		return ok
	}
	if bytes.Contains(ids, []byte("null")) { // encoding/json reads it as 0
		return false
	}
	if one, ok := read[[]int32](ids); ok {
		c.prompts = []prompt{{request: sglang.Request{InputIDs: one}}}
		return true
	}
	c.list = true
	each, ok := read[[][]int32](ids)
	for _, one := range each {
		c.prompts = append(c.prompts, prompt{request: sglang.Request{InputIDs: one}})
	}
	return ok
}

// each calls set with the value for every prompt: a single one serves all prompts
// of a list, unless only a list of values will do. It reports whether there is
// one for each; a field that is absent or null is left.
func each[T any](c *generateCall, raw json.RawMessage, decode func(json.RawMessage) (T, bool), set func(p *prompt, v T)) bool {
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

// readSampling takes sampling_params as they are: SGLang's defaults for what they
// leave out are its own.
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
		tokens, ok := read[int](said["max_new_tokens"]) // left out it is 128
		return params{bytes.TrimSpace(raw), tokens}, ok && (tokens == 0 || tokens == 1)
	}
	given := false
	return each(c, fields["sampling_params"], decode, func(p *prompt, v params) {
		p.request.MaxNewTokens, p.request.Sampling.Raw, p.request.KeepRaw, given = v.newTokens, v.raw, true, true
	}) && given
}

func (c *generateCall) readLogprobs(fields map[string]json.RawMessage) bool {
	wanted := make(map[*prompt]bool, len(c.prompts))
	ok := each(c, fields["return_logprob"], read[bool], func(p *prompt, v bool) { wanted[p] = v })
	for i := range c.prompts {
		c.prompts[i].request.Logprobs = new(sglang.LogprobOptions)
	}
	ok = ok && each(c, fields["logprob_start_len"], read[int], func(p *prompt, v int) {
		if v != -1 {
			p.request.Logprobs.PromptStart = &v
		}
	})
	ok = ok && each(c, fields["top_logprobs_num"], read[int], func(p *prompt, v int) { p.request.Logprobs.TopK = v })
	if !isNull(fields["token_ids_logprob"]) && c.list {
		_, perPrompt := read[[][]int32](fields["token_ids_logprob"])
		ok = ok && perPrompt // one list for a list of prompts is ambiguous
	}
	ok = ok && each(c, fields["token_ids_logprob"], read[[]int32], func(p *prompt, v []int32) { p.request.Logprobs.TokenIDs = v })
	for i := range c.prompts {
		p := &c.prompts[i]
		if !wanted[p] {
			p.request.Logprobs = nil
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
	return each(c, fields["cache_salt"], readText, func(p *prompt, v string) { p.request.CacheSalt = v }) &&
		each(c, fields["lora_path"], readText, func(p *prompt, v string) { p.lora = v }) &&
		each(c, fields["priority"], read[int32], func(p *prompt, v int32) { p.priority = &v }) &&
		(isNull(fields["priority"]) || bytes.TrimSpace(fields["priority"])[0] != '[') // SGLang takes one for a call
}

// readRIDs gives each prompt its name: a single name for a list becomes name_0,
// name_1 and so on, as at SGLang.
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

// check holds prompt i against what is known of the server. The error is a
// *fieldError in the client's words.
func (c *generateCall) check(i int, p *prompt, l limits) error {
	name := func(field string) string {
		if c.list {
			return field + "[" + strconv.Itoa(i) + "]"
		}
		return field
	}
	r := &p.request
	switch {
	case c.text && r.Text == "":
		return wrongField(name("text"), "must not be empty")
	case !c.text && len(r.InputIDs) == 0:
		return wrongField(name("input_ids"), "must not be empty")
	case !c.text && l.maxPromptTokens > 0 && len(r.InputIDs) > l.maxPromptTokens:
		return wrongField(name("input_ids"), "must hold at most %d tokens, got %d", l.maxPromptTokens, len(r.InputIDs))
	}
	if err := validateIDs(name("input_ids"), r.InputIDs, l); err != nil {
		return err
	}
	if err := checkSamplingBias(name("sampling_params"), r.Sampling.Raw, l); err != nil {
		return err
	}
	o := r.Logprobs
	if o == nil {
		return nil
	}
	most := maxTopLogprobs
	if l.vocabSize > 0 {
		most = min(most, l.vocabSize)
	}
	switch {
	case o.TopK < 0 || o.TopK > most:
		return wrongField(name("top_logprobs_num"), "must be from 0 to %d, got %d", most, o.TopK)
	case o.PromptStart != nil && *o.PromptStart < 0:
		return wrongField(name("logprob_start_len"), "must be at least 0, or -1 for none of the prompt's, got %d", *o.PromptStart)
	case o.PromptStart != nil && !c.text && *o.PromptStart > len(r.InputIDs):
		return wrongField(name("logprob_start_len"), "must be at most the prompt's %d tokens, got %d", len(r.InputIDs), *o.PromptStart)
	}
	return validateIDs(name("token_ids_logprob"), o.TokenIDs, l)
}
