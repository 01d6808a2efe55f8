package sim

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
)

// samplingFields are the fields of sampling_params with the types that SGLang
// 0.5.23 expects (api/v1/api_types.py); "" takes anything.
var samplingFields = map[string]string{
	"max_new_tokens": "i64", "stop": "", "stop_token_ids": "", "stop_regex": "", "temperature": "f64", "top_p": "f64", "top_k": "i64",
	"min_p": "f64", "frequency_penalty": "f64", "presence_penalty": "f64", "repetition_penalty": "f64", "min_new_tokens": "i64",
	"n": "i64", "json_schema": "a string", "regex": "a string", "ebnf": "a string", "structural_tag": "a string",
	"ignore_eos": "a boolean", "skip_special_tokens": "a boolean", "spaces_between_special_tokens": "a boolean",
	"no_stop_trim": "a boolean", "stream_interval": "i64", "logit_bias": "a map", "sampling_seed": "i64", "custom_params": "",
	"beam_width": "i64", "watermark": "", "choice": "",
}

// defaultNewTokens is SGLang's default of max_new_tokens.
const defaultNewTokens = 128

// samplingOf validates one sampling_params. It returns its max_new_tokens, and whether it
// would stop a real server. The simulated model ignores the rest.
func samplingOf(raw json.RawMessage, vocab int) (newTokens int, deadly bool, err error) {
	if !present(raw) {
		return defaultNewTokens, false, nil
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil {
		return 0, false, contract("invalid type: %s, expected struct SamplingParams", raw)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) { // so that the error is always the same
		if err := checkSampling(name, fields[name]); err != nil {
			return 0, false, err
		}
	}
	if n, given := integer(fields["n"]); given && n != 1 {
		return 0, false, meaning("n=%d: this is a simulator, and it answers a prompt once.", n)
	}
	n, given := integer(fields["max_new_tokens"])
	switch {
	case !given:
		n = defaultNewTokens
	case n < 0:
		return 0, false, meaning("max_new_tokens must be at least 0, got %d.", n)
	}
	return n, n > 0 && deadlySampling(fields, vocab), nil
}

// deadlySampling reports whether generating would stop a real server. SGLang divides biases by
// the temperature in float32, and for min_new_tokens writes at the places stop_token_ids of a
// tensor that is one longer than the vocabulary. It checks the ids of biases itself.
func deadlySampling(fields map[string]json.RawMessage, vocab int) bool {
	var bias map[json.Number]json.Number
	var stop []json.Number
	_, _ = json.Unmarshal(fields["logit_bias"], &bias), json.Unmarshal(fields["stop_token_ids"], &stop) // of another type: none
	temperature, err := strconv.ParseFloat(string(fields["temperature"]), 64)
	if err != nil || temperature < 1e-6 { // SGLang takes the likeliest then, and divides by 1
		temperature = 1
	}
	for id, number := range bias {
		value, _ := number.Float64() // infinite where it is too large
		if value/temperature > math.MaxFloat32 || outside(id, vocab) {
			return true
		}
	}
	least, _ := integer(fields["min_new_tokens"])
	return least > 0 && slices.ContainsFunc(stop, func(id json.Number) bool { return outside(id, vocab+1) })
}

// outside reports whether an id is outside the vocabulary.
func outside(id json.Number, vocab int) bool {
	n, err := strconv.ParseUint(string(id), 10, 64)
	return id != "" && (err != nil || n >= uint64(vocab))
}

// checkSampling refuses a field as SGLang does. It quotes the value, which a proxy must keep
// out of its own errors.
func checkSampling(name string, raw json.RawMessage) error {
	kind, known := samplingFields[name]
	switch {
	case !known:
		return contract("unknown field `%s`", name)
	case present(raw) && !isA(kind, raw):
		return contract("invalid type: %s, expected %s", raw, kind)
	}
	return nil
}

func isA(kind string, raw json.RawMessage) bool {
	switch kind {
	case "i64":
		_, ok := integer(raw)
		return ok
	case "f64":
		return raw[0] == '-' || isDigit(raw[0])
	case "a boolean":
		return raw[0] == 't' || raw[0] == 'f'
	case "a string":
		return raw[0] == '"'
	case "a map":
		return raw[0] == '{'
	}
	return true
}

func integer(raw json.RawMessage) (int, bool) {
	n, err := strconv.Atoi(string(raw))
	return n, err == nil
}
