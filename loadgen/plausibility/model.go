package plausibility

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
)

// Model is the part of a language model's shape that matters for prefill.
type Model struct {
	Name        string  `json:"name"`                  // as in verdicts
	Parameters  float64 `json:"parameters"`            // that multiply each token: no embeddings, no vocabulary, active experts only
	WeightBytes float64 `json:"weight_bytes"`          // minimum that a forward reads
	WeightBits  float64 `json:"weight_bits,omitempty"` // of a parameter; 0 in older reports: 16
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
	Type         string  `json:"model_type"`
	Hidden       float64 `json:"hidden_size"`
	Intermediate float64 `json:"intermediate_size"`
	Layers       float64 `json:"num_hidden_layers"`
	Heads        float64 `json:"num_attention_heads"`
	KVHeads      float64 `json:"num_key_value_heads"`
	HeadDim      float64 `json:"head_dim"`
	Latent       float64 `json:"kv_lora_rank"` // of latent attention

	// Experts, by the names of Qwen, of Mixtral and gpt-oss, and of DeepSeek.
	NumExperts         float64 `json:"num_experts"`
	NumLocalExperts    float64 `json:"num_local_experts"`
	NumRoutedExperts   float64 `json:"n_routed_experts"`
	ExpertsPerToken    float64 `json:"num_experts_per_tok"`
	ExpertIntermediate float64 `json:"moe_intermediate_size"` // 0: intermediate_size
	SharedExperts      float64 `json:"n_shared_experts"`      // that every token uses besides
	SharedIntermediate float64 `json:"shared_expert_intermediate_size"`
	DenseLayers        float64 `json:"first_k_dense_replace"` // layers without experts

	Quantization struct {
		Method string  `json:"quant_method"`
		Bits   float64 `json:"bits"`
	} `json:"quantization_config"`
}

// ungated are the types of models whose feed-forward layers have two matrices. Others have a third, the gate.
var ungated = []string{
	"bloom", "codegen", "falcon", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox", "gptj", "mpt", "nemotron", "opt", "phi", "starcoder2",
}

// bits returns the size of a weight: 16 of bfloat16 unless the model is quantized.
func (s shape) bits() float64 {
	known := map[string]float64{"": 16, "fp8": 8, "fbgemm_fp8": 8, "mxfp4": 4, "awq": 4, "gptq": 4, "nvfp4": 4}[s.Quantization.Method]
	return cmp.Or(s.Quantization.Bits, known, 4) // the least for a method that is not known
}

func (s shape) model(name string) Model {
	head := cmp.Or(s.HeadDim, s.Hidden/s.Heads)
	attention := 2*s.Hidden*s.Heads*head + 2*s.Hidden*s.KVHeads*head // queries and output, keys and values
	matrices := 3.0                                                  // gate, up and down
	if slices.Contains(ungated, s.Type) {
		matrices = 2
	}
	dense := matrices * s.Hidden * s.Intermediate
	p := s.Layers * (attention + dense)
	if max(s.NumExperts, s.NumLocalExperts, s.NumRoutedExperts) > 0 {
		expert := matrices * s.Hidden * cmp.Or(s.ExpertIntermediate, s.Intermediate)
		experts := (s.ExpertsPerToken+s.SharedExperts)*expert + matrices*s.Hidden*s.SharedIntermediate
		p = s.Layers*attention + s.DenseLayers*dense + (s.Layers-s.DenseLayers)*experts
	}
	return Model{Name: name, Parameters: p, WeightBytes: p * s.bits() / 8, WeightBits: s.bits()}
}

// ReadModel reads the shape from a model's config.json, or from the part of it that describes the language
// model. Its error names the field.
func ReadModel(path string) (Model, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Model{}, err
	}
	var s struct {
		shape
		Path     string `json:"_name_or_path"`
		Text     *shape `json:"text_config"`
		LLM      *shape `json:"llm_config"`
		Language *shape `json:"language_config"`
	}
	if err := json.Unmarshal(bytes.TrimPrefix(data, []byte("\ufeff")), &s); err != nil {
		return Model{}, fmt.Errorf("%s: %w", path, err)
	}
	of, where := s.shape, ""
	for name, nested := range map[string]*shape{"text_config.": s.Text, "llm_config.": s.LLM, "language_config.": s.Language} {
		if nested != nil && s.Hidden == 0 {
			of, where = *nested, name
			of.Quantization = cmp.Or(of.Quantization, s.Quantization)
		}
	}
	of.KVHeads = cmp.Or(of.KVHeads, of.Heads)
	experts := max(of.NumExperts, of.NumLocalExperts, of.NumRoutedExperts)
	for _, f := range []struct {
		name  string
		right bool
	}{
		{"hidden_size: must be above 0", of.Hidden > 0},
		{"num_hidden_layers: must be above 0", of.Layers > 0},
		{"num_attention_heads: must be above 0", of.Heads > 0},
		{"intermediate_size: must be above 0", max(of.Intermediate, of.ExpertIntermediate) > 0},
		{"num_experts_per_tok: must be from 1 to the number of experts", experts == 0 || of.ExpertsPerToken > 0 && of.ExpertsPerToken <= experts},
		{"first_k_dense_replace: must be from 0 to num_hidden_layers", of.DenseLayers >= 0 && of.DenseLayers <= of.Layers},
		{"kv_lora_rank: models with latent attention are not understood", of.Latent == 0},
	} {
		if !f.right {
			return Model{}, fmt.Errorf("%s: %s%s", path, where, f.name)
		}
	}
	return of.model(cmp.Or(s.Path, of.Type, s.Type)), nil
}
