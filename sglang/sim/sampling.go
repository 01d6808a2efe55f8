package sim

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// samplingFields are the fields of sampling_params with the types that SGLang
// 0.5.23 expects (api/v1/api_types.py), in its order; "" takes anything.
var samplingFields = []struct{ name, kind string }{
	{"max_new_tokens", "i64"}, {"stop", ""}, {"stop_token_ids", ""}, {"stop_regex", ""}, {"temperature", "f64"}, {"top_p", "f64"},
	{"top_k", "i64"}, {"min_p", "f64"}, {"frequency_penalty", "f64"}, {"presence_penalty", "f64"}, {"repetition_penalty", "f64"},
	{"min_new_tokens", "i64"}, {"n", "i64"}, {"json_schema", "a string"}, {"regex", "a string"}, {"ebnf", "a string"},
	{"structural_tag", "a string"}, {"ignore_eos", "a boolean"}, {"skip_special_tokens", "a boolean"},
	{"spaces_between_special_tokens", "a boolean"}, {"no_stop_trim", "a boolean"}, {"stream_interval", "i64"}, {"logit_bias", "a map"},
	{"sampling_seed", "i64"}, {"custom_params", ""}, {"beam_width", "i64"}, {"watermark", ""}, {"choice", ""},
}

// defaultNewTokens is SGLang's default of max_new_tokens.
const defaultNewTokens = 128

// newTokensOf validates one sampling_params and returns its max_new_tokens. The simulated
// model ignores the rest.
func newTokensOf(raw json.RawMessage) (int, error) {
	if !present(raw) {
		return defaultNewTokens, nil
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil {
		return 0, contract("invalid type: %s, expected struct SamplingParams", unexpected(raw))
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) { // so that the error is always the same
		if err := checkSampling(name, fields[name]); err != nil {
			return 0, err
		}
	}
	if n, given := integer(fields["n"]); given && n != 1 {
		return 0, meaning("n=%d: this is a simulator, and it answers a prompt once.", n)
	}
	n, given := integer(fields["max_new_tokens"])
	switch {
	case !given:
		return defaultNewTokens, nil
	case n < 0:
		return 0, meaning("max_new_tokens must be at least 0, got %d.", n)
	}
	return n, nil
}

func checkSampling(name string, raw json.RawMessage) error {
	for _, f := range samplingFields {
		if f.name != name {
			continue
		}
		if present(raw) && !isA(f.kind, raw) {
			return contract("invalid type: %s, expected %s", unexpected(raw), f.kind)
		}
		return nil
	}
	listed := make([]string, len(samplingFields))
	for i, f := range samplingFields {
		listed[i] = "`" + f.name + "`"
	}
	return contract("unknown field `%s`, expected one of %s", name, strings.Join(listed, ", "))
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

// unexpected describes a value of the wrong type as SGLang does. It quotes a whole string,
// which a proxy must keep out of its own errors.
func unexpected(raw json.RawMessage) string {
	var v any
	_ = json.Unmarshal(raw, &v) // it is JSON: it was decoded before
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return fmt.Sprintf("boolean `%t`", v)
	case float64:
		if _, ok := integer(raw); ok {
			return fmt.Sprintf("integer `%s`", raw)
		}
		return fmt.Sprintf("floating point `%s`", raw)
	case string:
		return `string "` + v + `"`
	case []any:
		return "sequence"
	}
	return "map"
}
