package sglang

import (
	"math"
	"slices"
)

// ScoringAnswer is the answer of /v1/score. Numbers that are not finite are null in it.
type ScoringAnswer struct {
	Scores   [][]float64  `json:"scores"`               // of each item, by label
	Pooled   *int         `json:"pooled_hidden_states"` // always null: no decoder answers them
	Logprobs [][]float64  `json:"token_logprobs"`       // as Scores; null unless asked for
	Model    string       `json:"model"`
	Usage    ScoringUsage `json:"usage"`
	Object   string       `json:"object"`
}

// ScoringUsage counts the tokens of all prompts.
type ScoringUsage struct {
	Prompt           int  `json:"prompt_tokens"`
	Total            int  `json:"total_tokens"`
	Completion       int  `json:"completion_tokens"`
	PromptDetails    *int `json:"prompt_tokens_details"`
	Reasoning        int  `json:"reasoning_tokens"`
	CompletionDetail *int `json:"completion_tokens_details"`
}

// DefaultModel is the name that SGLang answers where a request names no model.
const DefaultModel = "default"

// NewScoringAnswer returns the answer of SGLang 0.5.23 to /v1/score.
func NewScoringAnswer(model string, scores, logprobs [][]float64, tokens int) ScoringAnswer {
	return ScoringAnswer{
		Scores: scores, Logprobs: logprobs, Model: model, Usage: ScoringUsage{Prompt: tokens, Total: tokens}, Object: "scoring",
	}
}

// LabelLogprobs returns the log probabilities of labels after a prompt, which the request
// asked for as LogprobOptions.TokenIDs. SGLang writes null for minus infinity.
func (m *MetaInfo) LabelLogprobs(labels []int32) ([]float64, error) {
	if len(m.OutputIDsLogprobs) == 0 {
		return nil, protocolError(generateWhere, "the answer has no log probabilities of the label tokens")
	}
	row, all := m.OutputIDsLogprobs[0], make([]float64, len(labels))
	for i, id := range labels {
		k := i // the order of the request
		if k >= len(row) || row[k].ID != int(id) {
			k = slices.IndexFunc(row, func(t TokenLogprob) bool { return t.ID == int(id) })
		}
		switch {
		case k < 0:
			return nil, protocolError(generateWhere, "the answer lacks the log probability of a label token")
		case row[k].Logprob == nil:
			all[i] = math.Inf(-1)
		default:
			all[i] = *row[k].Logprob
		}
	}
	return all, nil
}

// Scores returns the probabilities of labels, as /v1/score of SGLang 0.5.23 computes them:
// among all tokens or, with softmax, among the labels at a temperature.
func Scores(logprobs []float64, softmax bool, temperature float64) []float64 {
	top, scale, total := 0.0, 1.0, 1.0
	if softmax {
		top, scale, total = slices.Max(logprobs), temperature, 0
		for _, l := range logprobs {
			total += math.Exp((l - top) / scale)
		}
	}
	scores := make([]float64, len(logprobs))
	for i, l := range logprobs {
		scores[i] = math.Exp((l-top)/scale) / total
	}
	return scores
}
