package sim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"paceline/sglang"
	"paceline/sglang/sim/dialect"
)

// generateBody is the part of a /generate body that the simulator knows. It ignores other
// fields, as SGLang does. Fields that may be one value or a list stay raw. Text does not,
// because scanning it twice more was most of the simulator's own cost.
type generateBody struct {
	Text         any             `json:"text"`
	InputIDs     json.RawMessage `json:"input_ids"`
	RID          any             `json:"rid"`
	Sampling     json.RawMessage `json:"sampling_params"`
	Logprob      json.RawMessage `json:"return_logprob"`
	LogprobStart json.RawMessage `json:"logprob_start_len"`
	TopLogprobs  json.RawMessage `json:"top_logprobs_num"`
	IDLogprobs   json.RawMessage `json:"token_ids_logprob"`
	CacheSalt    json.RawMessage `json:"cache_salt"`
	LoRA         json.RawMessage `json:"lora_path"`
	Overrides    json.RawMessage `json:"positional_embed_overrides"`
	Stream       bool            `json:"stream"`
}

// call is a parsed /generate.
type call struct {
	prompts []prompt
	list    bool // sent as a list, so answered as a list
	text    bool // the prompts are texts, which are tokenized one by one
	stream  bool
	deadly  bool             // it would stop a real server
	dialect *dialect.Dialect // nil for /generate itself
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

// seconds returns what a call costs the front end beside its prompts, in simulated seconds.
func (c *call) seconds(p Profile) float64 {
	if len(c.prompts) > 1 {
		return p.CallSeconds + p.ListSeconds
	}
	return p.CallSeconds
}

// readCall reads a body in a dialect, as parseCall does.
func readCall(body []byte, d *dialect.Dialect, p Profile) (c *call, err error) {
	if d != nil {
		body, err = d.Native(body)
	}
	var refused dialect.Refusal
	switch {
	case errors.As(err, &refused):
		c, err = new(call), meaning("%v", err)
	case err != nil:
		c, err = new(call), invalid("body", err.Error())
	default:
		c, err = parseCall(body, p)
	}
	c.dialect = d
	return c, err
}

// parseCall reads a /generate body. Its errors are *refusal. With an error it returns the
// call as far as it was read: whether it asks for a stream decides how to answer the error.
func parseCall(body []byte, p Profile) (*call, error) {
	var b generateBody
	if err := json.Unmarshal(body, &b); err != nil {
		return new(call), invalid("body", err.Error())
	}
	c := &call{stream: b.Stream}
	if err := c.readPrompts(b, p); err != nil {
		return c, err
	}
	if err := c.readRIDs(b.RID); err != nil {
		return c, err
	}
	if err := c.readSampling(b.Sampling, p.VocabSize); err != nil {
		return c, err
	}
	return c, c.readOptions(b, p.VocabSize)
}

func (c *call) readPrompts(b generateBody, p Profile) error {
	if b.Text != nil { // text wins over ids
		texts, list, err := stringsOf(b.Text, "text")
		if err != nil {
			return err
		}
		c.list, c.text = list, true
		for _, t := range texts {
			c.prompts = append(c.prompts, prompt{tokens: Tokenize(t, p.VocabSize), bytes: len(t)})
		}
		return nil
	}
	if !present(b.InputIDs) {
		return meaning("Either text, input_ids or input_embeds should be provided.")
	}
	if ids, list := plainIDs(b.InputIDs); ids != nil {
		c.list = list
		for _, one := range ids {
			c.prompts = append(c.prompts, prompt{tokens: one})
		}
		return nil
	}
	ids, list, err := idsOf(b.InputIDs)
	if err != nil {
		return err
	}
	c.list = list
	for _, one := range ids {
		c.prompts = append(c.prompts, prompt{tokens: narrow(one)})
	}
	return nil
}

// stringsOf reads a field that holds one string or a list of them.
func stringsOf(value any, field string) (values []string, list bool, err error) {
	if one, ok := value.(string); ok {
		return []string{one}, false, nil
	}
	elements, ok := value.([]any)
	if !ok {
		return nil, false, invalid(field, value)
	}
	values = make([]string, len(elements))
	for i, e := range elements {
		if values[i], ok = e.(string); !ok {
			return nil, false, invalid(field, value)
		}
	}
	return values, true, nil
}

// plainIDs reads a list of ids, or a list of such lists, from valid JSON. It returns nil for
// all that is not plain: empty lists, other types, ids of ten digits and more; idsOf reads
// those. encoding/json took most of the simulator's own time for ids.
func plainIDs(raw []byte) (ids [][]int32, list bool) {
	inner, isList := bytes.CutPrefix(raw, []byte("["))
	inner, _ = bytes.CutSuffix(inner, []byte("]"))
	rows := [][]byte{inner}
	if bytes.HasPrefix(inner, []byte("[")) {
		inner, list = bytes.CutSuffix(inner, []byte("]"))
		rows = bytes.Split(inner, []byte("]"))
		isList = list
	}
	if !isList {
		return nil, false
	}
	for _, row := range rows {
		one := plainRow(bytes.TrimLeft(row, ", ["))
		if one == nil {
			return nil, false
		}
		ids = append(ids, one)
	}
	return ids, list
}

// plainRow reads ids between commas, and returns nil for anything else.
func plainRow(row []byte) []int32 {
	ids := make([]int32, 0, 1+bytes.Count(row, []byte(",")))
	var id int32
	digits := 0
	for _, c := range row {
		switch {
		case c >= '0' && c <= '9' && digits < 9:
			id, digits = 10*id+int32(c-'0'), digits+1
		case c == ',' && digits > 0:
			ids, id, digits = append(ids, id), 0, 0
		case c != ' ':
			return nil
		}
	}
	if digits == 0 {
		return nil
	}
	return append(ids, id)
}

// idsOf reads one list of ids or a list of lists.
func idsOf(raw json.RawMessage) (ids [][]int64, list bool, err error) {
	if bytes.Contains(raw, []byte("null")) { // encoding/json would read it as 0
		return nil, false, invalid("input_ids", raw)
	}
	if json.Unmarshal(raw, &ids) == nil && len(ids) > 0 {
		return ids, true, nil
	}
	var one []int64
	if json.Unmarshal(raw, &one) != nil {
		return nil, false, invalid("input_ids", raw)
	}
	if len(one) == 0 {
		return nil, false, meaning("input_ids cannot be empty.")
	}
	return [][]int64{one}, false, nil
}

// reusable returns how many leading tokens may come from the cache: all but the last, and
// none whose log probability is asked for (sglang 0.5.23, schedule_batch.py,
// _compute_max_prefix_len).
func (p *prompt) reusable() int {
	n := len(p.tokens) - 1
	if p.logprob && p.logprobStart >= 0 {
		n = min(n, p.logprobStart)
	}
	return n
}

// narrow converts token ids to 32 bits. An id beyond 32 bits becomes -1, which is as deadly
// as any other id outside the vocabulary.
func narrow(wide []int64) []int32 {
	ids := make([]int32, len(wide))
	for i, id := range wide {
		if id != int64(int32(id)) {
			id = -1
		}
		ids[i] = int32(id)
	}
	return ids
}

func (c *call) readRIDs(value any) error {
	if value == nil {
		for i := range c.prompts {
			c.prompts[i].rid = sglang.NewRID()
		}
		return nil
	}
	rids, list, err := stringsOf(value, "rid")
	switch {
	case err != nil:
		return err
	case !list:
		for i := range c.prompts {
			c.prompts[i].rid = rids[0]
			if c.list {
				c.prompts[i].rid = fmt.Sprintf("%s_%d", rids[0], i)
			}
		}
		return nil
	case len(rids) != len(c.prompts):
		return meaning("The specified rids length mismatch with the batch_size for batch processing.")
	}
	seen := map[string]bool{}
	for i, rid := range rids {
		if seen[rid] {
			return meaning("Duplicate request IDs detected within the request: ['%s']", rid)
		}
		seen[rid] = true
		c.prompts[i].rid = rid
	}
	return nil
}

func (c *call) readSampling(raw json.RawMessage, vocab int) error {
	params := []json.RawMessage{raw}
	perItem := len(raw) > 0 && raw[0] == '['
	if perItem {
		if json.Unmarshal(raw, &params) != nil || !c.list || len(params) != len(c.prompts) {
			return internalError() // measured, for a list of another length and for one prompt
		}
	}
	newTokens := make([]int, len(params))
	for i := range params {
		n, deadly, err := samplingOf(params[i], vocab)
		if err != nil {
			return err
		}
		newTokens[i], c.deadly = n, c.deadly || deadly
	}
	for i := range c.prompts {
		c.prompts[i].newTokens = newTokens[0]
		if perItem {
			c.prompts[i].newTokens = newTokens[i]
		}
	}
	return nil
}

// maxTopLogprobs bounds the log probabilities that a long prompt makes the simulator write.
const maxTopLogprobs = 128

func (c *call) readOptions(b generateBody, vocab int) error {
	logprob, err1 := perPrompt(c, "return_logprob", b.Logprob, false)
	start, err2 := perPrompt(c, "logprob_start_len", b.LogprobStart, -1)
	top, err3 := perPrompt(c, "top_logprobs_num", b.TopLogprobs, 0)
	salt, err4 := perPrompt(c, "cache_salt", b.CacheSalt, "")
	lora, err5 := perPrompt(c, "lora_path", b.LoRA, "")
	ids, err6 := perPrompt[[]int64](c, "token_ids_logprob", b.IDLogprobs, nil)
	if err := cmp.Or(err1, err2, err3, err4, err5, err6); err != nil {
		return err
	}
	for i := range c.prompts {
		p := &c.prompts[i]
		p.logprob, p.logprobStart, p.topLogprobs, p.idLogprobs = logprob[i], start[i], top[i], narrow(ids[i])
		p.space = salt[i] + "\x00" + lora[i]
		c.deadly = c.deadly || present(b.Overrides) || p.logprob && (p.topLogprobs > vocab || unknown(p.idLogprobs, vocab))
		if p.logprob && p.topLogprobs > maxTopLogprobs && !c.deadly {
			return meaning("top_logprobs_num=%d: this is a simulator, and it makes up no more than %d.", p.topLogprobs, maxTopLogprobs)
		}
		if p.logprob && p.logprobStart > len(p.tokens) {
			return meaning("req.logprob_start_len=%d is higher than the number of input tokens len(req.origin_input_ids)=%d. "+
				"Please use a smaller logprob_start_len.", p.logprobStart, len(p.tokens))
		}
	}
	return nil
}

// perPrompt reads a field that may be absent, one value for all prompts, or a list with one
// value for each. It refuses null in the list, as SGLang does.
func perPrompt[T any](c *call, field string, raw json.RawMessage, absent T) ([]T, error) {
	values := slices.Repeat([]T{absent}, len(c.prompts))
	var one T
	var many []*T
	switch {
	case !present(raw):
	case json.Unmarshal(raw, &one) == nil:
		for i := range values {
			values[i] = one
		}
	case json.Unmarshal(raw, &many) == nil && c.list && len(many) == len(values) && !slices.Contains(many, nil):
		for i := range values {
			values[i] = *many[i]
		}
	default:
		return nil, invalid(field, raw)
	}
	return values, nil
}

func present(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

func unknown(ids []int32, vocab int) bool {
	return slices.ContainsFunc(ids, func(id int32) bool { return id < 0 || int(id) >= vocab })
}

// check refuses what SGLang refuses for its length, and finds whether a prompt would stop a
// real server.
func (c *call) check(p Profile) error {
	for i := range c.prompts {
		one := &c.prompts[i]
		n := len(one.tokens)
		c.deadly = c.deadly || n == 0 || unknown(one.tokens, p.VocabSize)
		switch {
		case n >= p.ContextLength:
			return meaning("The input (%d tokens) is longer than the model's context length (%d tokens).", n, p.ContextLength)
		case n+one.newTokens > p.ContextLength:
			return meaning("Requested token count exceeds the model's maximum context length of %d tokens. "+
				"You requested a total of %d tokens: %d tokens from the input messages and %d tokens for the completion. "+
				"Please reduce the number of tokens in the input messages or the completion to fit within the limit.",
				p.ContextLength, n+one.newTokens, n, one.newTokens)
		case n >= p.maxReqInputLen():
			return meaning("Input length (%d tokens) exceeds the maximum allowed length (%d tokens). "+
				"Use a shorter input or enable --allow-auto-truncate.", n, p.maxReqInputLen())
		}
	}
	return nil
}
