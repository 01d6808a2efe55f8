package compat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"paceline/proxy/upstream"
)

// shield refuses a call that is known to crash SGLang (0.5.23, on its CPU backend) or to
// fail other requests: an empty prompt or list element, and ids outside the vocabulary in
// any field. It passes unknown fields, which SGLang checks itself. The error is a
// *upstream.FieldError.
func shield(fields map[string]json.RawMessage, l upstream.Limits) error {
	for _, name := range []string{"text", "prompt", "input_ids", "input", "query", "items"} {
		if err := shieldPrompt(name, fields[name], l, 0); err != nil {
			return err
		}
	}
	instances, _ := read[[]map[string]json.RawMessage](fields["instances"]) // of /vertex_generate
	for i, one := range instances {
		if err := shieldPrompt(fmt.Sprintf("instances[%d].text", i), one["text"], l, 0); err != nil {
			return err
		}
		if err := shieldPrompt(fmt.Sprintf("instances[%d].input_ids", i), one["input_ids"], l, 0); err != nil {
			return err
		}
	}
	for _, name := range []string{"token_ids_logprob", "label_token_ids"} {
		if err := shieldIDs(name, fields[name], l); err != nil {
			return err
		}
	}
	if err := checkBias("logit_bias", fields["logit_bias"], l); err != nil {
		return err
	}
	params := fields["sampling_params"]
	if each, ok := read[[]json.RawMessage](params); ok {
		for i, one := range each {
			if err := checkSamplingBias("sampling_params["+strconv.Itoa(i)+"]", one, l); err != nil {
				return err
			}
		}
		return nil
	}
	return checkSamplingBias("sampling_params", params, l)
}

// shieldPrompt checks a prompt: a string, ids, or a list of either.
func shieldPrompt(name string, raw json.RawMessage, l upstream.Limits, depth int) error {
	if text, ok := read[string](raw); ok {
		if text == "" {
			return upstream.WrongField(name, "must not be empty")
		}
		return nil
	}
	each, ok := read[[]json.RawMessage](raw)
	if !ok || depth > 1 {
		return nil
	}
	if len(each) == 0 && depth > 0 {
		return upstream.WrongField(name, "must not be empty")
	}
	for i, one := range each {
		field := name + "[" + strconv.Itoa(i) + "]"
		if err := shieldID(field, one, l); err != nil {
			return err
		}
		if err := shieldPrompt(field, one, l, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// shieldIDs checks ids, or lists of them.
func shieldIDs(name string, raw json.RawMessage, l upstream.Limits) error {
	each, _ := read[[]json.RawMessage](raw)
	for i, one := range each {
		field := name + "[" + strconv.Itoa(i) + "]"
		if err := shieldID(field, one, l); err != nil {
			return err
		}
		if err := shieldIDs(field, one, l); err != nil {
			return err
		}
	}
	return nil
}

// shieldID checks a number that is an id.
func shieldID(field string, raw json.RawMessage, l upstream.Limits) error {
	n, ok := read[float64](raw)
	switch {
	case !ok:
		return nil
	case l.VocabSize == 0:
		return upstream.UnknownVocabulary(field)
	case n < 0 || n >= float64(l.VocabSize):
		return upstream.WrongField(field, "%v is outside the vocabulary [0, %d)", n, l.VocabSize)
	}
	return nil
}

// checkSamplingBias checks the logit_bias of raw sampling parameters.
func checkSamplingBias(name string, raw json.RawMessage, l upstream.Limits) error {
	if !bytes.Contains(raw, []byte("logit_bias")) && !bytes.ContainsRune(raw, '\\') {
		return nil // the usual case; a backslash could hide the name
	}
	params, _ := read[map[string]json.RawMessage](raw)
	return checkBias(name+".logit_bias", params["logit_bias"], l)
}

func checkBias(name string, raw json.RawMessage, l upstream.Limits) error {
	bias, _ := read[map[string]json.RawMessage](raw)
	for id := range bias {
		n, err := strconv.ParseInt(id, 10, 64)
		switch {
		case err != nil:
			return upstream.WrongField(name, "must have token ids as its keys")
		case l.VocabSize == 0:
			return upstream.UnknownVocabulary(name)
		case n < 0 || n >= int64(l.VocabSize):
			return upstream.WrongField(fmt.Sprintf("%s[%d]", name, n), "%d is outside the vocabulary [0, %d)", n, l.VocabSize)
		}
	}
	return nil
}
