package api

import (
	"fmt"
	"math"

	pb "paceline/proto/paceline/v1"
	"paceline/proxy/upstream"
	"paceline/sglang"
)

// Bounds of a request that don't depend on the model.
const (
	maxRequestIDBytes = 128
	maxNameBytes      = 1024 // of lora and cache_salt; a path or a digest fits
)

// validate converts a request to a prompt without a rid, or returns a *upstream.FieldError.
// It refuses what is known to crash SGLang 0.5.23: an empty prompt, and an id outside the
// vocabulary.
func validate(req *pb.PrefillRequest, l upstream.Limits) (*upstream.Prompt, error) {
	if err := validatePrefix(req, l); err != nil {
		return nil, err
	}
	switch {
	case req.GetText() == "" && len(req.GetTokenIds()) == 0:
		return nil, upstream.WrongField("text", "must not be empty: give either text or token_ids")
	case req.GetMaxNewTokens() > 1:
		return nil, upstream.WrongField("max_new_tokens", "must be 0 or 1, got %d", req.GetMaxNewTokens())
	}
	p := &upstream.Prompt{Priority: req.Priority, LoRA: req.GetLora()}
	p.Request = sglang.Request{Text: req.GetText(), MaxNewTokens: int(req.GetMaxNewTokens()), CacheSalt: req.GetCacheSalt()}
	if ids := req.GetTokenIds(); len(ids) > 0 {
		p.Request.InputIDs = ids // an empty list counts as absent
	}
	if o := req.GetLogprobs(); o != nil {
		p.Request.Logprobs = logprobOptions(o)
		if err := validateLogprobs(o, p, l); err != nil {
			return nil, err
		}
	}
	if s := req.GetSamplingParams(); s != nil {
		if err := validateSampling(s, l); err != nil {
			return nil, err
		}
		p.Request.Sampling = sglang.Sampling{
			Temperature: s.Temperature, TopP: s.TopP, TopK: s.TopK, MinP: s.MinP, Seed: s.Seed, LogitBias: s.GetLogitBias(),
		}
	}
	return p, nil
}

// prefixed is what PrefillRequest and ScoreRequest have in common: what their prompts begin
// with, and names.
type prefixed interface {
	GetText() string
	GetTokenIds() []int32
	GetRequestId() string
	GetCacheSalt() string
	GetLora() string
}

func validatePrefix(req prefixed, l upstream.Limits) error {
	for _, f := range []struct {
		name, value string
		limit       int
	}{
		{"request_id", req.GetRequestId(), maxRequestIDBytes},
		{"cache_salt", req.GetCacheSalt(), maxNameBytes},
		{"lora", req.GetLora(), maxNameBytes},
	} {
		if len(f.value) > f.limit {
			return upstream.WrongField(f.name, "must have at most %d bytes, got %d", f.limit, len(f.value))
		}
	}
	text, ids := req.GetText(), req.GetTokenIds()
	switch most := l.MaxPromptTokens; {
	case text != "" && len(ids) > 0:
		return upstream.WrongField("token_ids", "must be absent where text is given: give only one of the two")
	case most > 0 && len(ids) > most:
		return upstream.WrongField("token_ids", "must hold at most %d tokens, got %d", most, len(ids))
	case most > 0 && text != "" && len(text) > l.MaxTextBytes():
		return upstream.WrongField("text", "must have at most %d tokens, and %d bytes are more than that", most, len(text))
	}
	return l.CheckIDs("token_ids", ids)
}

// validateLogprobs checks the options of a prompt. The start in a text is checked once its
// tokens are counted.
func validateLogprobs(o *pb.LogprobOptions, p *upstream.Prompt, l upstream.Limits) error {
	limit := uint32(l.MaxTopLogprobs())
	switch {
	case o.GetTopK() > limit:
		return upstream.WrongField("logprobs.top_k", "must be at most %d, got %d", limit, o.GetTopK())
	case o.GetPromptStart() > math.MaxInt32:
		return upstream.WrongField("logprobs.prompt_start", "must be at most %d, got %d", math.MaxInt32, o.GetPromptStart())
	case len(p.Request.InputIDs) > 0:
		if err := upstream.CheckStart(p.Request.Logprobs, len(p.Request.InputIDs)); err != nil {
			return err
		}
	}
	return l.CheckIDs("logprobs.token_ids", o.GetTokenIds())
}

func validateSampling(p *pb.SamplingParams, l upstream.Limits) error {
	switch {
	case !within(p.GetTemperature(), 0, math.MaxFloat32):
		return upstream.WrongField("sampling_params.temperature", "must be a number of at least 0, got %v", p.GetTemperature())
	case p.TopP != nil && (!within(p.GetTopP(), 0, 1) || p.GetTopP() == 0):
		return upstream.WrongField("sampling_params.top_p", "must be above 0 and at most 1, got %v", p.GetTopP())
	case p.TopK != nil && p.GetTopK() != -1 && p.GetTopK() < 1:
		return upstream.WrongField("sampling_params.top_k", "must be at least 1, or -1 for all, got %d", p.GetTopK())
	case !within(p.GetMinP(), 0, 1):
		return upstream.WrongField("sampling_params.min_p", "must be from 0 to 1, got %v", p.GetMinP())
	}
	return validateBias(p.GetLogitBias(), l)
}

func validateBias(bias map[int32]float32, l upstream.Limits) error {
	if len(bias) > 0 && l.VocabSize == 0 {
		return upstream.UnknownVocabulary("sampling_params.logit_bias")
	}
	for id, value := range bias {
		field := fmt.Sprintf("sampling_params.logit_bias[%d]", id)
		switch {
		case id < 0 || int(id) >= l.VocabSize:
			return upstream.WrongField(field, "%d is outside the vocabulary [0, %d)", id, l.VocabSize)
		case !within(value, -upstream.MaxLogitBias, upstream.MaxLogitBias):
			return upstream.WrongField(field, "must be a finite number from -%v to %[1]v, got %[2]v", upstream.MaxLogitBias, value)
		}
	}
	return nil
}

// within returns false for NaN.
func within(x, low, high float32) bool { return x >= low && x <= high }

func logprobOptions(o *pb.LogprobOptions) *sglang.LogprobOptions {
	out := &sglang.LogprobOptions{TopK: int(o.GetTopK()), TokenIDs: o.GetTokenIds()}
	if o.PromptStart != nil {
		start := int(o.GetPromptStart())
		out.PromptStart = &start
	}
	return out
}
