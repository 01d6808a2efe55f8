package sim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"paceline/sglang"
)

// generateBody is the body of /generate, as far as the simulator knows it;
// other fields are ignored, as SGLang ignores them. Fields that may be one value
// or a list stay raw.
type generateBody struct {
	Text         json.RawMessage `json:"text"`
	InputIDs     json.RawMessage `json:"input_ids"`
	RID          json.RawMessage `json:"rid"`
	Sampling     json.RawMessage `json:"sampling_params"`
	Logprob      json.RawMessage `json:"return_logprob"`
	LogprobStart json.RawMessage `json:"logprob_start_len"`
	TopLogprobs  json.RawMessage `json:"top_logprobs_num"`
	IDLogprobs   json.RawMessage `json:"token_ids_logprob"`
	CacheSalt    json.RawMessage `json:"cache_salt"`
	LoRA         json.RawMessage `json:"lora_path"`
	Stream       bool            `json:"stream"`
}

// call is a parsed /generate.
type call struct {
	prompts []prompt
	list    bool // asked as a list, and so answered as one
	text    bool // prompts came as text: they are tokenized one by one
	stream  bool
}

// prompt is one prompt of a call.
type prompt struct {
	rid          string
	tokens       []int32
	bytes        int // of text
	newTokens    int
	space        string
	logprob      bool
	logprobStart int // -1: none of the prompt's
	topLogprobs  int
	idLogprobs   []int32
}

// samplingParams is sampling_params; unknown fields are refused, as SGLang does.
type samplingParams struct {
	MaxNewTokens      *int            `json:"max_new_tokens"`
	Temperature       *float64        `json:"temperature"`
	TopP              *float64        `json:"top_p"`
	TopK              *int            `json:"top_k"`
	MinP              *float64        `json:"min_p"`
	Seed              *int64          `json:"sampling_seed"`
	IgnoreEOS         *bool           `json:"ignore_eos"`
	N                 *int            `json:"n"`
	LogitBias         json.RawMessage `json:"logit_bias"`
	Stop              json.RawMessage `json:"stop"`
	StopTokenIDs      json.RawMessage `json:"stop_token_ids"`
	StopRegex         json.RawMessage `json:"stop_regex"`
	FrequencyPenalty  *float64        `json:"frequency_penalty"`
	PresencePenalty   *float64        `json:"presence_penalty"`
	RepetitionPenalty *float64        `json:"repetition_penalty"`
	MinNewTokens      *int            `json:"min_new_tokens"`
	JSONSchema        json.RawMessage `json:"json_schema"`
	Regex             json.RawMessage `json:"regex"`
	EBNF              json.RawMessage `json:"ebnf"`
	SkipSpecial       *bool           `json:"skip_special_tokens"`
	Spaces            *bool           `json:"spaces_between_special_tokens"`
	NoStopTrim        *bool           `json:"no_stop_trim"`
	StreamInterval    *int            `json:"stream_interval"`
	CustomParams      json.RawMessage `json:"custom_params"`
}

const defaultNewTokens = 128

// parseCall reads a /generate body. Errors are *refusal, and beside one the call
// is as far as it was read: whether it asks for a stream decides how the error
// is answered.
func parseCall(body []byte, p Profile) (*call, error) {
	var b generateBody
	if err := json.Unmarshal(body, &b); err != nil {
		return new(call), malformed()
	}
	c := &call{stream: b.Stream}
	if err := c.readPrompts(b, p); err != nil {
		return c, err
	}
	if err := c.readRIDs(b.RID); err != nil {
		return c, err
	}
	if err := c.readSampling(b.Sampling); err != nil {
		return c, err
	}
	return c, c.readOptions(b)
}

func (c *call) readPrompts(b generateBody, p Profile) error {
	if present(b.Text) { // text wins over ids
		texts, list, err := oneOrMany[string](b.Text, "text", "str")
		if err != nil {
			return err
		}
		c.list, c.text = list, true
		for _, t := range texts {
			c.prompts = append(c.prompts, prompt{tokens: tokenize(t, p.VocabSize), bytes: len(t)})
		}
		return nil
	}
	if !present(b.InputIDs) {
		return meaning("Either text, input_ids or input_embeds should be provided.")
	}
	var many [][]int32
	if json.Unmarshal(b.InputIDs, &many) == nil && len(many) > 0 {
		c.list = true
		for _, ids := range many {
			c.prompts = append(c.prompts, prompt{tokens: ids})
		}
		return nil
	}
	ids, err := readIDs(b.InputIDs, p.VocabSize)
	c.prompts = append(c.prompts, prompt{tokens: ids})
	return err
}

// readIDs reads one list of ids. Ids beyond 32 bits are as deadly as all others
// outside the vocabulary.
func readIDs(raw json.RawMessage, vocab int) ([]int32, error) {
	var wide []int64
	if json.Unmarshal(raw, &wide) != nil {
		return nil, validation("input_ids", "elements must be int or list")
	}
	if len(wide) == 0 {
		return nil, meaning("input_ids cannot be empty.")
	}
	ids := make([]int32, len(wide))
	for i, id := range wide {
		if id < 0 || id >= int64(vocab) {
			id = -1
		}
		ids[i] = int32(id)
	}
	return ids, nil
}

func (c *call) readRIDs(raw json.RawMessage) error {
	var one string
	var many []string
	switch {
	case !present(raw):
		for i := range c.prompts {
			c.prompts[i].rid = sglang.NewRID()
		}
		return nil
	case json.Unmarshal(raw, &one) == nil:
		for i := range c.prompts {
			c.prompts[i].rid = one
			if c.list {
				c.prompts[i].rid = fmt.Sprintf("%s_%d", one, i)
			}
		}
		return nil
	case json.Unmarshal(raw, &many) != nil:
		return validation("rid", "Input should be a valid string")
	case len(many) != len(c.prompts):
		return meaning("The specified rids length mismatch with the batch_size for batch processing.")
	}
	seen := map[string]bool{}
	for i, rid := range many {
		if seen[rid] {
			return meaning(fmt.Sprintf("Duplicate request IDs detected within the request: ['%s']", rid))
		}
		seen[rid] = true
		c.prompts[i].rid = rid
	}
	return nil
}

func (c *call) readSampling(raw json.RawMessage) error {
	params, err := perPrompt[json.RawMessage](c, raw, nil)
	if err != nil {
		return &refusal{status: 500, body: []byte("Internal Server Error"), plain: true} // measured
	}
	for i := range c.prompts {
		n := defaultNewTokens
		if present(params[i]) {
			var s samplingParams
			d := json.NewDecoder(bytes.NewReader(params[i]))
			d.DisallowUnknownFields()
			if err := d.Decode(&s); err != nil {
				return unknownField(err)
			}
			if s.MaxNewTokens != nil {
				n = *s.MaxNewTokens
			}
		}
		if n < 0 {
			return meaning(fmt.Sprintf("max_new_tokens must be at least 0, got %d.", n))
		}
		c.prompts[i].newTokens = n
	}
	return nil
}

func (c *call) readOptions(b generateBody) error {
	logprob, err1 := perPrompt(c, b.Logprob, false)
	start, err2 := perPrompt(c, b.LogprobStart, -1)
	top, err3 := perPrompt(c, b.TopLogprobs, 0)
	salt, err4 := perPrompt(c, b.CacheSalt, "")
	lora, err5 := perPrompt(c, b.LoRA, "")
	ids, err6 := perPromptIDs(c, b.IDLogprobs)
	for i, err := range []error{err1, err2, err3, err4, err5, err6} {
		if err != nil {
			return validation([]string{"return_logprob", "logprob_start_len", "top_logprobs_num", "cache_salt", "lora_path", "token_ids_logprob"}[i], "Input should be of another type")
		}
	}
	for i := range c.prompts {
		p := &c.prompts[i]
		p.logprob, p.logprobStart, p.topLogprobs, p.idLogprobs = logprob[i], start[i], top[i], ids[i]
		p.space = salt[i] + "\x00" + lora[i]
		if p.logprob && p.logprobStart > len(p.tokens) {
			return meaning(fmt.Sprintf("req.logprob_start_len=%d is higher than the number of input tokens len(req.origin_input_ids)=%d. Please use a smaller logprob_start_len.", p.logprobStart, len(p.tokens)))
		}
	}
	return nil
}

// perPrompt reads a field that may be absent, one value for all prompts, or a
// list with one for each.
func perPrompt[T any](c *call, raw json.RawMessage, absent T) ([]T, error) {
	values := slices.Repeat([]T{absent}, len(c.prompts))
	if !present(raw) {
		return values, nil
	}
	if raw[0] == '[' {
		var many []T
		if err := strictList(raw, &many); err != nil {
			return nil, err
		}
		if !c.list || len(many) != len(values) {
			return nil, fmt.Errorf("%d values for %d prompts", len(many), len(values))
		}
		return many, nil
	}
	var one T
	if err := json.Unmarshal(raw, &one); err != nil {
		return nil, err
	}
	for i := range values {
		values[i] = one
	}
	return values, nil
}

// perPromptIDs reads a list of ids for all prompts, or a list of lists.
func perPromptIDs(c *call, raw json.RawMessage) ([][]int32, error) {
	var one []int32
	if present(raw) && json.Unmarshal(raw, &one) == nil {
		return slices.Repeat([][]int32{one}, len(c.prompts)), nil
	}
	return perPrompt[[]int32](c, raw, nil)
}

// strictList refuses null elements, as SGLang does.
func strictList[T any](raw json.RawMessage, to *[]T) error {
	var elements []json.RawMessage
	if err := json.Unmarshal(raw, &elements); err != nil {
		return err
	}
	for _, e := range elements {
		var v T
		if string(e) == "null" {
			return fmt.Errorf("null in a list")
		}
		if err := json.Unmarshal(e, &v); err != nil {
			return err
		}
		*to = append(*to, v)
	}
	return nil
}

func oneOrMany[T any](raw json.RawMessage, field, kind string) (values []T, list bool, err error) {
	var one T
	if json.Unmarshal(raw, &one) == nil {
		return []T{one}, false, nil
	}
	var many []T
	if json.Unmarshal(raw, &many) == nil {
		return many, true, nil
	}
	return nil, false, validation(field, "Input should be a valid "+kind)
}

func present(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

// check refuses what SGLang refuses for its length, and reports whether an
// input is one that would stop a real server.
func (c *call) check(p Profile) (deadly bool, err error) {
	for i := range c.prompts {
		one := &c.prompts[i]
		n := len(one.tokens)
		deadly = deadly || n == 0 || slices.ContainsFunc(one.tokens, func(id int32) bool { return id < 0 || int(id) >= p.VocabSize })
		switch {
		case n >= p.ContextLength:
			return false, meaning(fmt.Sprintf("The input (%d tokens) is longer than the model's context length (%d tokens).", n, p.ContextLength))
		case n+one.newTokens > p.ContextLength:
			return false, meaning(fmt.Sprintf("Requested token count exceeds the model's maximum context length of %d tokens. You requested a total of %d tokens: %d tokens from the input messages and %d tokens for the completion. Please reduce the number of tokens in the input messages or the completion to fit within the limit.", p.ContextLength, n+one.newTokens, n, one.newTokens))
		case n > p.maxPromptTokens():
			return false, meaning(fmt.Sprintf("Input length (%d tokens) exceeds the maximum allowed length (%d tokens). Use a shorter input or enable --allow-auto-truncate.", n, p.maxPromptTokens()))
		}
	}
	return deadly, nil
}

// refusal is an error answer, in one of SGLang's shapes.
type refusal struct {
	status int
	body   []byte
	plain  bool // not JSON
}

// Error implements error.
func (r *refusal) Error() string { return string(r.body) }

func meaning(message string) *refusal {
	return &refusal{status: 400, body: marshal(map[string]any{"error": map[string]any{"message": message}})}
}

func validation(field, problem string) *refusal {
	message := fmt.Sprintf("1 validation error:\n  {'type': 'value_error', 'loc': ('body', '%s'), 'msg': '%s'}", field, problem)
	return &refusal{status: 400, body: marshal(map[string]any{"object": "error", "message": message, "type": "Bad Request", "param": nil, "code": 400})}
}

func malformed() *refusal {
	message := "1 validation error:\n  {'type': 'json_invalid', 'loc': ('body', 0), 'msg': 'JSON decode error'}"
	return &refusal{status: 400, body: marshal(map[string]any{"object": "error", "message": message, "type": "Bad Request", "param": nil, "code": 400})}
}

func unknownField(err error) *refusal {
	message := strings.TrimPrefix(err.Error(), "json: ")
	return &refusal{status: 400, body: marshal(map[string]any{"error": strings.ReplaceAll(message, `"`, "`")})}
}

func marshal(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps of strings and numbers
	}
	return data
}
