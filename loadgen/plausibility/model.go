package plausibility

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
)

// Model is the part of a language model's shape that matters for prefill.
type Model struct {
	Name        string  `json:"name"`         // as in verdicts
	Parameters  float64 `json:"parameters"`   // that each token is multiplied with: without embeddings and vocabulary, active experts only
	WeightBytes float64 `json:"weight_bytes"` // minimum that a forward reads
}

// FLOP returns the floating-point operations for one token.
func (m Model) FLOP() float64 { return 2 * m.Parameters }

// GFLOP returns FLOP in billions.
func (m Model) GFLOP() float64 { return m.FLOP() / 1e9 }

// Billions returns the parameters in billions.
func (m Model) Billions() float64 { return m.Parameters / 1e9 }

// Qwen25of7B is the model of R2EGym-7B-Agent and of Qwen2.5-7B.
var Qwen25of7B = shape{Hidden: 3584, Intermediate: 18944, Layers: 28, Heads: 28, KVHeads: 4}.model("Qwen2.5-7B")

// shape is the part of a Hugging Face config.json that describes a transformer.
type shape struct {
	Hidden       float64 `json:"hidden_size"`
	Intermediate float64 `json:"intermediate_size"`
	Layers       float64 `json:"num_hidden_layers"`
	Heads        float64 `json:"num_attention_heads"`
	KVHeads      float64 `json:"num_key_value_heads"`
	HeadDim      float64 `json:"head_dim"`

	Experts            float64 `json:"num_experts"`
	ExpertsPerToken    float64 `json:"num_experts_per_tok"`
	ExpertIntermediate float64 `json:"moe_intermediate_size"`
}

// bytesPerParameter is that of bfloat16. A model served in fewer bits reads less, so its memory floor
// is too high. Its compute floor, the one that matters, is right.
const bytesPerParameter = 2

func (s shape) model(name string) Model {
	head := cmp.Or(s.HeadDim, s.Hidden/s.Heads)
	attention := 2*s.Hidden*s.Heads*head + 2*s.Hidden*s.KVHeads*head // queries and output, keys and values
	perToken := 3 * s.Hidden * s.Intermediate                        // gate, up and down
	if s.Experts > 0 {
		perToken = 3 * s.Hidden * s.ExpertIntermediate * s.ExpertsPerToken
	}
	p := s.Layers * (attention + perToken)
	return Model{Name: name, Parameters: p, WeightBytes: bytesPerParameter * p}
}

// ReadModel reads the shape from a model's config.json. Its error names the field.
func ReadModel(path string) (Model, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Model{}, err
	}
	var s struct {
		shape
		Path string `json:"_name_or_path"`
		Type string `json:"model_type"`
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return Model{}, fmt.Errorf("%s: %w", path, err)
	}
	s.KVHeads = cmp.Or(s.KVHeads, s.Heads)
	for _, f := range []struct {
		name  string
		value float64
	}{
		{"hidden_size", s.Hidden}, {"num_hidden_layers", s.Layers}, {"num_attention_heads", s.Heads},
		{"intermediate_size", max(s.Intermediate, s.ExpertIntermediate)},
	} {
		if f.value <= 0 {
			return Model{}, fmt.Errorf("%s: %s: must be above 0", path, f.name)
		}
	}
	return s.model(cmp.Or(s.Path, s.Type)), nil
}
