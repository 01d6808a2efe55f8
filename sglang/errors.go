package sglang

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"
)

// Kind is what an error means to its caller.
type Kind uint8

// The kinds.
const (
	KindServer      Kind = iota // the server failed (500, 502, 504)
	KindRejected                // the request itself can't be served (400 and its like)
	KindBusy                    // the server can't take it now (429, 503)
	KindAuth                    // the key was refused (401, 403)
	KindUnreachable             // no whole answer came: refused, reset, cut short
	KindProtocol                // an answer that can't be understood
	KindAborted                 // the work was aborted at the server
)

// Error is a failed call, or a failed item of a list.
type Error struct {
	Where   string // method and path
	Status  int    // HTTP status; 0 if no answer came
	Kind    Kind
	Message string // what the server said, cut to what can't hold prompt text
	cause   error
}

// Error implements error.
func (e *Error) Error() string {
	if e.Status == 0 {
		return fmt.Sprintf("sglang: %s: %s", e.Where, e.Message)
	}
	return fmt.Sprintf("sglang: %s: %d: %s", e.Where, e.Status, e.Message)
}

// Unwrap returns the transport's error, if that is the cause.
func (e *Error) Unwrap() error { return e.cause }

func kindOf(status int) Kind {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return KindAuth
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return KindBusy
	}
	if status >= 400 && status < 500 {
		return KindRejected
	}
	return KindServer
}

// errorFromBody reads any of SGLang's error shapes:
//
//	{"error": {"message": "…"}}                       refused for its meaning
//	{"error": "…"}                                    refused by the JSON contract
//	{"object": "error", "message": "…", "code": 400}  refused by validation; busy
//	{"detail": "Not Found"}                           no such path
//	Internal Server Error                             plain text
func errorFromBody(where string, status int, body []byte) *Error {
	return &Error{Where: where, Status: status, Kind: kindOf(status), Message: safe(messageOf(body))}
}

func messageOf(body []byte) string {
	var shape struct {
		Error   json.RawMessage `json:"error"`
		Message string          `json:"message"`
		Detail  json.RawMessage `json:"detail"`
	}
	if json.Unmarshal(body, &shape) != nil {
		return string(body)
	}
	var inner struct {
		Message string `json:"message"`
	}
	var text string
	switch {
	case json.Unmarshal(shape.Error, &inner) == nil && inner.Message != "":
		return inner.Message
	case json.Unmarshal(shape.Error, &text) == nil && text != "":
		return text
	case shape.Message != "":
		return shape.Message
	case json.Unmarshal(shape.Detail, &text) == nil && text != "":
		return text
	}
	return "no message"
}

const longestMessage = 300

// safe cuts a message to what can't hold prompt text. Validation errors quote
// the input they refuse (`'input': …`), so of those only the places and the
// reasons stay; a long message of an unknown form is cut.
func safe(message string) string {
	if strings.Contains(message, "validation error") {
		message = validationSummary(message)
	}
	message = strings.Join(strings.Fields(strings.ToValidUTF8(message, "\uFFFD")), " ")
	if message == "" {
		return "no message"
	}
	if len(message) > longestMessage {
		end := longestMessage
		for !utf8.RuneStart(message[end]) {
			end--
		}
		message = message[:end] + "…"
	}
	return message
}

// validationSummary keeps, of each refused place, where it is: the only part
// that is never a copy of the input.
func validationSummary(message string) string {
	var places []string
	for rest := message; ; {
		_, after, found := strings.Cut(rest, "'loc': (")
		if !found {
			break
		}
		place, tail, closed := strings.Cut(after, ")")
		if !closed {
			break
		}
		rest = tail
		if isPlace(place) {
			places = append(places, strings.NewReplacer("'", "", ", ", ".").Replace(place))
		}
	}
	if len(places) == 0 {
		return "the request is not of the expected form"
	}
	return "not of the expected form: " + strings.Join(places, "; ")
}

// isPlace says whether a quoted location is made of field and type names only.
func isPlace(s string) bool {
	if len(s) > 80 {
		return false
	}
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("_', []", r)) {
			return false
		}
	}
	return true
}
