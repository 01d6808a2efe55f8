package sglang

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
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
	Item    int    // 1 + index of the only item that the message names; 0: none
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
	e := &Error{Where: where, Status: status, Kind: kindOf(status), Message: safe(messageOf(body))}
	e.Item = itemNamed(e.Message)
	return e
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
// the refused input (`'input': …`): safe keeps only the places. The JSON contract quotes a
// string of the wrong type (`invalid type: string "…"`, api_types.py): safe removes
// everything between double quotes.
func safe(message string) string {
	if strings.Contains(message, "validation error") || strings.Contains(message, "'input'") {
		message = validationSummary(message)
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

// validationSummary keeps the place of each refused value: the only part that is never a
// copy of the input.
func validationSummary(message string) string {
	var places []string
	for _, after := range strings.Split(message, "'loc': (")[1:] {
		// Each place appears twice: the message repeats its list after a trace.
		inside, _, closed := strings.Cut(after, ")")
		if place := placeOf(inside); closed && !slices.Contains(places, place) && len(places) < maxPlaces {
			places = append(places, place)
		}
	}
	if len(places) == 0 {
		return "the request is not of the expected form"
	}
	return placesPrefix + strings.Join(places, "; ")
}

const (
	maxPlaces    = 8
	placesPrefix = "not of the expected form: "
)

// placeOf writes a quoted location such as ('body', 'text', 3) as body.text.3. Words that
// are not SGLang's own become "…", because a prompt may hold text that looks like a
// location.
func placeOf(quoted string) string {
	var parts []string
	for part := range strings.SplitSeq(quoted, ",") {
		part = strings.Trim(part, " '")
		switch {
		case part == "": // after the comma of a one-element tuple
		case isIndex(part) || isPlaceWord(part):
			parts = append(parts, part)
		default:
			parts = append(parts, "…")
		}
	}
	return strings.Join(parts, ".")
}

// itemNamed returns 1 + the index of the only list item among the places of a
// validationSummary, or 0.
func itemNamed(summary string) int {
	places, ok := strings.CutPrefix(summary, placesPrefix)
	if !ok {
		return 0
	}
	item := 0
	for place := range strings.SplitSeq(places, "; ") {
		index := 0
		for part := range strings.SplitSeq(place, ".") {
			if n, err := strconv.ParseUint(part, 10, 16); err == nil {
				index = int(n) + 1
				break // further numbers are inside the item
			}
		}
		if index != 0 && item != 0 && index != item {
			return 0
		}
		item = max(item, index)
	}
	return item
}

func isIndex(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

// isPlaceWord reports whether s is a field that is sent, or a type that Pydantic tries for
// one.
func isPlaceWord(s string) bool {
	switch s {
	case "body", "text", "input_ids", "rid", "sampling_params", "stream", "priority", "lora_path", "cache_salt",
		"return_logprob", "logprob_start_len", "top_logprobs_num", "token_ids_logprob",
		"str", "int", "bool", "list[str]", "list[int]", "list[bool]", "list[list[int]]":
		return true
	}
	return false
}
