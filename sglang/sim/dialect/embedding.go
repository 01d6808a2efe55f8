package dialect

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"paceline/sglang"
)

// EmbeddingPaths returns the paths of Embedding.
func EmbeddingPaths() []string {
	return []string{"/encode", "/classify", "/v1/embeddings", sglang.ClassifyPath}
}

// dimensions is the length of an embedding.
const dimensions = 8

// Embedding returns the dialect of one call of a path that embeds or classifies. It serves
// no other call. The embedding is made up of a token that the simulator makes up of the whole
// prompt, so that the answer to another prompt is never right by chance.
func Embedding(path string) *Dialect {
	d := &Dialect{Path: path, OpenAI: strings.HasPrefix(path, "/v1/"), Embeds: true}
	var list, inBase64 bool
	d.native = func(body fields) error {
		name, prompt, err := prompt(body, d.OpenAI)
		if err != nil {
			return err
		}
		if body["dimensions"] != nil {
			return Refusal("Model 'simulated' does not support matryoshka representation, " +
				"changing output dimensions will lead to poor results.")
		}
		list = strings.HasPrefix(string(prompt), "[[") || strings.HasPrefix(string(prompt), `["`)
		inBase64 = string(body["encoding_format"]) == `"base64"`
		rid := body["rid"]
		clear(body)
		body[name], body["sampling_params"] = prompt, marshal(map[string]int{"max_new_tokens": 1})
		if rid != nil {
			body["rid"] = rid
		}
		return nil
	}
	d.answer = func(model string, all []sglang.Answer) any {
		switch {
		case d.OpenAI:
			return embedded(path, model, inBase64, all)
		case list:
			return natives(all)
		}
		return natives(all)[0]
	}
	return d
}

// prompt returns the field of /generate for the prompt of a body, and the prompt.
func prompt(body fields, openAI bool) (name string, value json.RawMessage, err error) {
	switch {
	case !openAI && body["input_ids"] != nil:
		return "input_ids", body["input_ids"], nil
	case !openAI:
		return "text", body["text"], nil
	case !strings.Contains(string(body["input"]), `"`):
		return "input_ids", body["input"], nil
	}
	all := string(body["input"])
	if !strings.HasPrefix(all, "[") {
		all = "[" + all + "]"
	}
	var texts []string
	err = json.Unmarshal([]byte(all), &texts)
	if slices.ContainsFunc(texts, func(text string) bool { return strings.TrimSpace(text) == "" }) {
		err = cmp.Or(err, error(Refusal("Input cannot be empty or whitespace only")))
	}
	return "text", body["input"], err
}

// vector makes up an embedding.
func vector(a sglang.Answer) []float64 {
	v := make([]float64, dimensions)
	if len(a.OutputIDs) == 0 {
		return v // aborted
	}
	r := rand.New(rand.NewPCG(uint64(a.OutputIDs[0]), dimensions))
	for i := range v {
		v[i] = float64(float32(r.NormFloat64()))
	}
	return v
}

func natives(all []sglang.Answer) []any {
	out := make([]any, len(all))
	for i, a := range all {
		out[i] = map[string]any{"embedding": vector(a), "meta_info": map[string]any{ // without cached_tokens, as measured
			"id": a.Meta.ID, "finish_reason": a.Meta.FinishReason, "prompt_tokens": a.Meta.PromptTokens,
			"weight_version": a.Meta.WeightVersion, "e2e_latency": a.Meta.E2ELatency,
		}}
	}
	return out
}

// embedded is an answer of an OpenAI path.
func embedded(path, model string, inBase64 bool, all []sglang.Answer) any {
	data, tokens := make([]any, len(all)), 0
	for i, a := range all {
		tokens += a.Meta.PromptTokens
		v := vector(a)
		var embedding any = v
		if inBase64 {
			var packed []byte
			for _, x := range v {
				packed = binary.LittleEndian.AppendUint32(packed, math.Float32bits(float32(x)))
			}
			embedding = base64.StdEncoding.EncodeToString(packed)
		}
		if data[i] = any(map[string]any{"embedding": embedding, "index": i, "object": "embedding"}); path == sglang.ClassifyPath {
			p := 1 / (1 + math.Exp(-v[0]))
			label := map[bool]string{true: "LABEL_1", false: "LABEL_0"}[p < 0.5]
			data[i] = map[string]any{"index": i, "label": label, "probs": []float64{p, 1 - p}, "num_classes": 2}
		}
	}
	answer := map[string]any{"object": "list", "model": model, "data": data, "usage": sglang.ScoringUsage{Prompt: tokens, Total: tokens}}
	if path == sglang.ClassifyPath {
		answer["id"], answer["created"] = "classify-"+sglang.NewRID(), time.Now().Unix()
	}
	return answer
}
