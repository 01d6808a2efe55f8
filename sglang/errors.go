package sglang

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Kind says what an error means to the caller.
type Kind uint8

// The kinds.
const (
	KindServer      Kind = iota // the server failed (500, 502, 504)
	KindRejected                // the request itself can't be served (400 and its like)
	KindBusy                    // the server can't accept it now (429, 503)
	KindAuth                    // the key was refused (401, 403)
	KindUnreachable             // no complete answer: refused, reset, cut short
	KindProtocol                // an answer that can't be understood
	KindAborted                 // the work was aborted at the server
	KindTooLong                 // the answer is longer than 64 MiB
)

// Error is a failed call, or a failed item of a list.
type Error struct {
	Where   string // method and path
	Status  int    // HTTP status; 0 without an answer
	Kind    Kind
	Message string // of the server, without parts that may hold prompt text
	Sent    bool   // KindUnreachable: part of the call may have reached the server
	cause   error
}

// Error implements error.
func (e *Error) Error() string {
	if e.Status == 0 {
		return fmt.Sprintf("sglang: %s: %s", e.Where, e.Message)
	}
	return fmt.Sprintf("sglang: %s: %d: %s", e.Where, e.Status, e.Message)
}

// Unwrap returns the transport's error, or nil.
func (e *Error) Unwrap() error { return e.cause }

func protocolError(where, message string) *Error {
	return &Error{Where: where, Status: http.StatusOK, Kind: KindProtocol, Message: message}
}

func notExpectedJSON(where string) *Error {
	return protocolError(where, "the answer is not the expected JSON")
}

func (e *itemError) err() *Error {
	status := statusOf(e.Code)
	return &Error{Where: generateWhere, Status: status, Kind: kindOf(status), Message: safe(e.Message)}
}

// abortError returns the error of an element that the server aborted. It has a status if
// the server aborted for its own reason, and none if a client asked for the abort.
func abortError(f *FinishReason) *Error {
	e := &Error{Where: generateWhere, Status: http.StatusOK, Kind: KindAborted, Message: safe(f.Message)}
	if len(f.StatusCode) > 0 && string(f.StatusCode) != "null" {
		e.Status = statusOf(f.StatusCode)
		e.Kind = kindOf(e.Status)
	}
	return e
}

// statusOf reads a status that may be a number or a string. Anything else counts as 500.
func statusOf(raw jsontext.Value) int {
	if status, err := strconv.Atoi(strings.Trim(string(raw), `"`)); err == nil && status >= 400 && status < 600 {
		return status
	}
	return http.StatusInternalServerError
}

func kindOf(status int) Kind {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return KindAuth
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return KindBusy
	}
	switch {
	case status < 400: // a redirect, or a success without an answer: not from SGLang
		return KindProtocol
	case status == http.StatusBadRequest, status == http.StatusRequestEntityTooLarge, status == http.StatusUnprocessableEntity:
		return KindRejected
	case status < 500: // no such path, or a proxy in between: the request is not wrong
		return KindProtocol
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
		Error   jsontext.Value `json:"error"`
		Message string         `json:"message"`
		Detail  jsontext.Value `json:"detail"`
	}
	if json.Unmarshal(body, &shape, tolerant) != nil {
		if jsontext.Value(body).IsValid(tolerant) {
			return "" // a document of an unknown shape may hold prompt text
		}
		return string(body)
	}
	var inner struct {
		Message string `json:"message"`
	}
	var text, detail string
	_ = json.Unmarshal(shape.Error, &inner, tolerant) // a value of another type leaves ""
	_ = json.Unmarshal(shape.Error, &text, tolerant)
	_ = json.Unmarshal(shape.Detail, &detail, tolerant)
	return cmp.Or(inner.Message, text, shape.Message, detail)
}

const maxMessage = 300

// safe removes the parts of a message that may hold prompt text. Validation errors quote
// the refused input (`'input': …`) and places that may stand in it: safe keeps nothing of
// them. The JSON contract quotes a string of the wrong type (`invalid type: string "…"`,
// api_types.py): safe removes everything between double quotes.
func safe(message string) string {
	if strings.Contains(message, "validation error") || strings.Contains(message, "'input'") {
		return "the request is not of the expected form"
	}
	message = withoutQuotation(strings.ToValidUTF8(message, "\uFFFD"))
	message = strings.Join(strings.Fields(message), " ")
	if message == "" {
		return "no message"
	}
	if len(message) > maxMessage {
		end := maxMessage
		for !utf8.RuneStart(message[end]) {
			end--
		}
		message = message[:end] + "…"
	}
	return message
}

// withoutQuotation removes everything from the first double quote to the last. Quoted
// text may itself hold quotes, which SGLang does not escape.
func withoutQuotation(s string) string {
	first, last := strings.IndexByte(s, '"'), strings.LastIndexByte(s, '"')
	switch {
	case first < 0:
		return s
	case first == last: // no closing quote
		return s[:first] + `"…"`
	}
	return s[:first] + `"…"` + s[last+1:]
}
