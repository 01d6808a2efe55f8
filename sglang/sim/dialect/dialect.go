// Package dialect translates SGLang's other generating paths to /generate and its answers
// back, as far as prefill needs it: /v1/completions, /v1/chat/completions and
// /vertex_generate. Of log probabilities it passes the request on and leaves out the answer.
// scoring.go has the paths that score, and embedding.go those that embed or classify.
package dialect

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"paceline/sglang"
)

// Dialect is one path.
type Dialect struct {
	Path   string
	OpenAI bool // it refuses as OpenAI's paths do
	Embeds bool // it is for models that embed or classify, and not for those that generate

	native        func(body fields) error // makes the body one of /generate
	object, event string                  // what an answer and an event of it are called
	text, delta   string                  // where their choices have the text

	answer func(model string, all []sglang.Answer) any // if not nil, makes the answer
}

// fields are those of a JSON object.
type fields = map[string]json.RawMessage

// All returns the dialects.
func All() []*Dialect {
	return []*Dialect{
		{"/v1/completions", true, false, completions, "text_completion", "text_completion", "text", "text", nil},
		{"/v1/chat/completions", true, false, chat, "chat.completion", "chat.completion.chunk", "message", "delta", nil},
		{Path: "/vertex_generate", native: vertex},
	}
}

// Refusal is the error of a call that is refused for what it means, in SGLang's own words.
type Refusal string

// Error implements error.
func (r Refusal) Error() string { return string(r) }

// Native returns the body of the same call of /generate. Its errors are a Refusal or
// encoding/json's.
func (d *Dialect) Native(body []byte) ([]byte, error) {
	var b fields
	if err := json.Unmarshal(body, &b); err != nil {
		return nil, err
	}
	if b == nil {
		b = fields{}
	}
	if d.OpenAI {
		b["sampling_params"] = sampling(b)
	}
	if err := d.native(b); err != nil {
		return nil, err
	}
	return json.Marshal(b)
}

// renamed are the sampling_params that OpenAI names otherwise.
var renamed = map[string]string{"max_tokens": "max_new_tokens", "min_tokens": "min_new_tokens", "seed": "sampling_seed"}

// sampled are the fields of a body that are sampling_params. Others, json_schema among them,
// change no prefill.
var sampled = []string{
	"max_tokens", "min_tokens", "seed", "n", "temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty",
	"repetition_penalty", "stop", "stop_token_ids", "stop_regex", "regex", "ebnf", "ignore_eos", "logit_bias", "custom_params",
}

func sampling(b fields) json.RawMessage {
	params := fields{}
	for _, name := range sampled {
		if b[name] != nil {
			params[cmp.Or(renamed[name], name)] = b[name]
		}
	}
	return marshal(params)
}

// completions: a prompt that holds no string holds ids.
func completions(b fields) error {
	prompt := string(b["prompt"])
	switch {
	case prompt == `""` || prompt == "[]":
		return Refusal("Prompt cannot be empty")
	case strings.Contains(prompt, `"`):
		b["text"] = b["prompt"]
	default:
		b["input_ids"] = b["prompt"]
	}
	if n := b["logprobs"]; n != nil && string(n) != "null" {
		b["top_logprobs_num"], b["return_logprob"] = n, json.RawMessage("true")
	}
	return nil
}

func chat(b fields) error {
	text, err := ChatText(b["messages"])
	if err != nil {
		return err
	}
	b["text"], b["top_logprobs_num"], b["return_logprob"] = marshal(text), b["top_logprobs"], b["logprobs"]
	return nil
}

// ChatText writes messages about as Qwen's template does. Its errors are encoding/json's.
func ChatText(raw json.RawMessage) (string, error) {
	var messages []struct {
		Role    string `json:"role"`
		Content any    `json:"content"`
	}
	if err := json.Unmarshal(raw, &messages); err != nil {
		return "", err
	}
	text := "<|im_start|>assistant\n"
	for _, m := range slices.Backward(messages) {
		text = fmt.Sprintf("<|im_start|>%s\n%v<|im_end|>\n%s", m.Role, m.Content, text)
	}
	return text, nil
}

// vertex: the prompts stand in instances, all else in parameters. What the first instance
// has says what all have.
func vertex(b fields) error {
	var instances []fields
	var parameters fields
	err1, err2 := json.Unmarshal(orNull(b["instances"]), &instances), json.Unmarshal(orNull(b["parameters"]), &parameters)
	if err := cmp.Or(err1, err2); err != nil {
		return err
	}
	clear(b)
	for _, key := range []string{"text", "input_ids"} {
		var prompts []json.RawMessage
		for _, one := range instances {
			prompts = append(prompts, orNull(one[key]))
		}
		if len(prompts) > 0 && !slices.Contains([]string{"null", `""`, "[]"}, string(prompts[0])) {
			b[key] = marshal(prompts)
			break
		}
	}
	maps.Copy(b, parameters)
	return nil
}

func orNull(raw json.RawMessage) json.RawMessage {
	if raw == nil {
		return json.RawMessage("null")
	}
	return raw
}

func marshal(v any) json.RawMessage {
	data, _ := json.Marshal(v) // strings, and JSON that was read
	return data
}

// Answer is an answer in the dialect.
func (d *Dialect) Answer(model string, all []sglang.Answer) any {
	switch {
	case d.answer != nil:
		return d.answer(model, all)
	case !d.OpenAI:
		return map[string]any{"predictions": all}
	}
	return d.say(model, d.object, d.text, 0, all)
}

// Event is one event of a streamed answer: all of the prompt at index i.
func (d *Dialect) Event(model string, i int, a sglang.Answer) any {
	if !d.OpenAI {
		return a
	}
	return d.say(model, d.event, d.delta, i, []sglang.Answer{a})
}

func (d *Dialect) say(model, object, key string, first int, all []sglang.Answer) any {
	choices := make([]any, len(all))
	prompt, made := 0, 0
	for i, a := range all {
		var text any = a.Text
		if key != "text" {
			text = map[string]any{"role": "assistant", "content": a.Text}
		}
		choices[i] = map[string]any{"index": first + i, key: text, "logprobs": nil, "finish_reason": a.Meta.FinishReason.Type}
		prompt, made = prompt+a.Meta.PromptTokens, made+a.Meta.CompletionTokens
	}
	return map[string]any{
		"id": all[0].Meta.ID, "object": object, "model": model, "choices": choices,
		"usage": map[string]any{"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made},
	}
}
