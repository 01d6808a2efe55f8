package sim

import (
	"encoding/json"
	"fmt"
)

// refusal is an error answer, in one of the shapes of SGLang 0.5.23. Only the words of those
// for a meaning are SGLang's own.
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

// invalid refuses a field of the wrong type. Like SGLang it copies the input, which a proxy
// must keep out of its own errors.
func invalid(field string, input any) *refusal {
	message := fmt.Sprintf("1 validation error:\n  {'loc': ('body', '%s'), 'msg': 'not of the expected type', 'input': %s}",
		field, marshal(input))
	return badRequest(map[string]any{"object": "error", "message": message, "type": "Bad Request", "param": nil, "code": 400})
}

func marshal(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps of strings and numbers
	}
	return data
}
