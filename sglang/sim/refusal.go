package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// refusal is an error answer, in one of the shapes measured on SGLang 0.5.23.
type refusal struct {
	status int
	body   []byte
	plain  bool // not JSON
}

// Error implements error.
func (r *refusal) Error() string { return string(r.body) }

// message is what a meaning says; other shapes have no message to carry.
func (r *refusal) message() string {
	var shape struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	_ = json.Unmarshal(r.body, &shape)
	return shape.Error.Message
}

// meaning refuses a well-formed call for what it asks.
func meaning(format string, args ...any) *refusal {
	return badRequest(map[string]any{"error": map[string]any{"message": fmt.Sprintf(format, args...)}})
}

// contract refuses a call as SGLang's JSON contract does.
func contract(format string, args ...any) *refusal {
	return badRequest(map[string]any{"error": fmt.Sprintf(format, args...)})
}

func badRequest(body map[string]any) *refusal { return &refusal{status: 400, body: marshal(body)} }

// internalError returns SGLang's answer to a failure of its own.
func internalError() *refusal {
	return &refusal{status: 500, body: []byte("Internal Server Error"), plain: true}
}

// violation is one value of a body that validation refuses.
type violation struct {
	kind  string
	place string // after 'body' in Python's tuple: ", 'text'"
	msg   string
	input any
	ctx   string // "" for none
}

// String writes a violation as Pydantic does, with a copy of the input, which a proxy must
// keep out of its own errors.
func (v violation) String() string {
	s := fmt.Sprintf("{'type': '%s', 'loc': ('body'%s), 'msg': %s, 'input': %s", v.kind, v.place, pythonRepr(v.msg), pythonRepr(v.input))
	if v.ctx != "" {
		s += ", 'ctx': {'error': " + v.ctx + "}"
	}
	return s + "}"
}

// validation refuses a body that has not the expected form.
func validation(violations ...violation) *refusal {
	plural := "s"
	if len(violations) == 1 {
		plural = ""
	}
	all := make([]string, len(violations))
	for i, v := range violations {
		all[i] = v.String()
	}
	message := fmt.Sprintf("%d validation error%s:\n  %s\n\n  File \"simulated\", line 928, in generate_request\n    POST /generate [%s]",
		len(all), plural, strings.Join(all, "\n  "), strings.Join(all, ", "))
	return badRequest(map[string]any{"object": "error", "message": message, "type": "Bad Request", "param": nil, "code": 400})
}

// wrongType refuses a field of the wrong type.
func wrongType(field string, raw json.RawMessage) *refusal {
	var input any
	_ = json.Unmarshal(raw, &input) // it is JSON: it was decoded before
	return validation(violation{kind: "value_error", place: ", '" + field + "'", msg: notExpectedType, input: input})
}

const notExpectedType = "Value error, not of the expected type"

// undecodable refuses a body for the error of encoding/json.
func undecodable(err error) *refusal {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return validation(violation{kind: "value_error", place: ",", msg: notExpectedType, input: map[string]any{}})
	}
	cause := "unexpected character"
	if strings.HasPrefix(syntax.Error(), "unexpected end") {
		cause = "unexpected end of data"
	}
	place := ", " + strconv.FormatInt(syntax.Offset, 10)
	return validation(violation{kind: "json_invalid", place: place, msg: "JSON decode error", input: map[string]any{}, ctx: "'" + cause + "'"})
}

// pythonRepr writes a decoded JSON value much as Python's repr does.
func pythonRepr(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case json.Number:
		return v.String()
	case string:
		if strings.Contains(v, "'") {
			return `"` + v + `"`
		}
		return "'" + v + "'"
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = pythonRepr(e)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return "{}"
}

// pythonType names the type of a decoded JSON value as Python does.
func pythonType(v any) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case float64:
		return "float"
	case json.Number:
		if _, err := v.Int64(); err == nil {
			return "int"
		}
		return "float"
	case string:
		return "str"
	case []any:
		return "list"
	}
	return "dict"
}

func marshal(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps of strings and numbers
	}
	return data
}
