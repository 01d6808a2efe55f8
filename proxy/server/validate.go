package server

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	pb "paceline/proto/paceline/v1"
	"paceline/sglang"
)

// Bounds of a request that no model decides.
const (
	maxRequestIDBytes = 128
	maxNameBytes      = 1024 // of lora and cache_salt: a path or a digest fits
	maxTopLogprobs    = 1024
)

// fieldError says which field of a request is wrong and what was expected. It
// never holds prompt text.
type fieldError struct {
	field   string
	problem string
}

func (e *fieldError) Error() string { return e.field + ": " + e.problem }

func wrongField(field, format string, args ...any) error {
	return &fieldError{field, fmt.Sprintf(format, args...)}
}

// validate turns a request into a prompt, without a rid, or returns a
// *fieldError. It lets nothing through that is known to end SGLang: an empty
// prompt, or an id outside the vocabulary (sglang 0.5.23).
func validate(req *pb.PrefillRequest, l limits) (prompt, error) {
	for _, check := range []func(*pb.PrefillRequest, limits) error{
		validatePrompt, validateNames, validateLogprobs, validateSampling,
	} {
		if err := check(req, l); err != nil {
			return prompt{}, err
		}
	}
	p := prompt{priority: req.Priority, lora: req.GetLora()}
	p.request = sglang.Request{
		Text:         req.GetText(),
		MaxNewTokens: int(req.GetMaxNewTokens()),
		Sampling:     sampling(req.GetSamplingParams()),
		Logprobs:     logprobOptions(req.GetLogprobs()),
		CacheSalt:    req.GetCacheSalt(),
	}
	if ids := req.GetTokenIds(); len(ids) > 0 {
		p.request.InputIDs = ids // else nil: present but empty is absent
	}
	return p, nil
}

func validatePrompt(req *pb.PrefillRequest, l limits) error {
	text, ids := req.GetText(), req.GetTokenIds()
	switch {
	case text == "" && len(ids) == 0:
		return wrongField("text", "must not be empty: give either text or token_ids")
	case text != "" && len(ids) > 0:
		return wrongField("token_ids", "must be absent where text is given: give only one of the two")
	case req.GetMaxNewTokens() > 1:
		return wrongField("max_new_tokens", "must be 0 or 1, got %d", req.GetMaxNewTokens())
	case l.maxPromptTokens > 0 && len(ids) > l.maxPromptTokens:
		return wrongField("token_ids", "must hold at most %d tokens, got %d", l.maxPromptTokens, len(ids))
	}
	return validateIDs("token_ids", ids, l)
}

func validateNames(req *pb.PrefillRequest, _ limits) error {
	for _, f := range []struct {
		name, value string
		most        int
	}{
		{"request_id", req.GetRequestId(), maxRequestIDBytes},
		{"cache_salt", req.GetCacheSalt(), maxNameBytes},
		{"lora", req.GetLora(), maxNameBytes},
	} {
		if len(f.value) > f.most {
			return wrongField(f.name, "must have at most %d bytes, got %d", f.most, len(f.value))
		}
	}
	return nil
}

func validateLogprobs(req *pb.PrefillRequest, l limits) error {
	o := req.GetLogprobs()
	if o == nil {
		return nil
	}
	most := uint32(maxTopLogprobs)
	if l.vocabSize > 0 {
		most = min(most, uint32(l.vocabSize))
	}
	switch ids := req.GetTokenIds(); {
	case o.GetTopK() > most:
		return wrongField("logprobs.top_k", "must be at most %d, got %d", most, o.GetTopK())
	case o.GetPromptStart() > math.MaxInt32:
		return wrongField("logprobs.prompt_start", "must be at most %d, got %d", math.MaxInt32, o.GetPromptStart())
	case len(ids) > 0:
		if err := validateStart(logprobOptions(o), len(ids)); err != nil {
			return err
		}
	}
	return validateIDs("logprobs.token_ids", o.GetTokenIds(), l)
}

func validateSampling(req *pb.PrefillRequest, l limits) error {
	p := req.GetSamplingParams()
	switch {
	case p == nil:
		return nil
	case !within(p.GetTemperature(), 0, math.MaxFloat32):
		return wrongField("sampling_params.temperature", "must be a number of at least 0, got %v", p.GetTemperature())
	case p.TopP != nil && (!within(p.GetTopP(), 0, 1) || p.GetTopP() == 0):
		return wrongField("sampling_params.top_p", "must be above 0 and at most 1, got %v", p.GetTopP())
	case p.TopK != nil && p.GetTopK() != -1 && p.GetTopK() < 1:
		return wrongField("sampling_params.top_k", "must be at least 1, or -1 for all, got %d", p.GetTopK())
	case !within(p.GetMinP(), 0, 1):
		return wrongField("sampling_params.min_p", "must be from 0 to 1, got %v", p.GetMinP())
	}
	return validateBias(p.GetLogitBias(), l)
}

func validateBias(bias map[int32]float32, l limits) error {
	if len(bias) > 0 && l.vocabSize == 0 {
		return unknownVocabulary("sampling_params.logit_bias")
	}
	for id, value := range bias {
		field := fmt.Sprintf("sampling_params.logit_bias[%d]", id)
		switch {
		case id < 0 || int(id) >= l.vocabSize:
			return wrongField(field, "%d is outside the vocabulary [0, %d)", id, l.vocabSize)
		case !within(value, -math.MaxFloat32, math.MaxFloat32):
			return wrongField(field, "must be a finite number, got %v", value)
		}
	}
	return nil
}

// validateStart checks where log probabilities begin against the prompt's length.
func validateStart(o *sglang.LogprobOptions, tokens int) error {
	if o != nil && o.PromptStart != nil && *o.PromptStart > tokens {
		return wrongField("logprobs.prompt_start", "must be at most the prompt's %d tokens, got %d", tokens, *o.PromptStart)
	}
	return nil
}

// validateIDs checks token ids against the vocabulary.
func validateIDs(field string, ids []int32, l limits) error {
	if len(ids) == 0 {
		return nil
	}
	if l.vocabSize == 0 {
		return unknownVocabulary(field)
	}
	i := slices.IndexFunc(ids, func(id int32) bool { return id < 0 || int(id) >= l.vocabSize })
	if i < 0 {
		return nil
	}
	return wrongField(field+"["+strconv.Itoa(i)+"]", "%d is outside the vocabulary [0, %d)", ids[i], l.vocabSize)
}

func unknownVocabulary(field string) error {
	return wrongField(field, "can't be checked, because SGLang tells no vocabulary size: "+
		"start the proxy with -vocab-size, or send text")
}

// within is false for NaN, too.
func within(x, low, high float32) bool { return x >= low && x <= high }

func sampling(p *pb.SamplingParams) sglang.Sampling {
	if p == nil {
		return sglang.Sampling{}
	}
	return sglang.Sampling{
		Temperature: p.Temperature, TopP: p.TopP, TopK: p.TopK, MinP: p.MinP,
		Seed: p.Seed, LogitBias: p.GetLogitBias(),
	}
}

func logprobOptions(o *pb.LogprobOptions) *sglang.LogprobOptions {
	if o == nil {
		return nil
	}
	out := &sglang.LogprobOptions{TopK: int(o.GetTopK()), TokenIDs: o.GetTokenIds()}
	if o.PromptStart != nil {
		start := int(o.GetPromptStart())
		out.PromptStart = &start
	}
	return out
}
