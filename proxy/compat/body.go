package compat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"paceline/proxy/upstream"
)

// readBody reads the body of a request, which must be JSON.
func (h *Handler) readBody(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		upstream.WriteError(w, http.StatusUnsupportedMediaType, "Content-Encoding: must be absent, got "+strconv.Quote(encoding))
		return nil, false
	}
	buffer := bytes.NewBuffer(make([]byte, 0, bytes.MinRead+min(max(0, r.ContentLength), trustedLength)))
	_, err := buffer.ReadFrom(http.MaxBytesReader(w, r.Body, h.maxBytes))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		upstream.WriteTooLarge(w, large)
		return nil, false
	case err != nil:
		return nil, false // the client has gone
	}
	return buffer.Bytes(), true
}

// readObject reads the body of a request, which must be a JSON object. If ok is false, the
// request is answered.
func (h *Handler) readObject(w http.ResponseWriter, r *http.Request) (body []byte, fields map[string]json.RawMessage, ok bool) {
	if body, ok = h.readBody(w, r); !ok {
		return nil, nil, false
	}
	fields, err := objectOf(body)
	if err != nil {
		h.refuse(w, r, err)
		return nil, nil, false
	}
	return body, fields, true
}

// trustedLength is the max bytes of an announced length that are allocated before they
// arrive.
const trustedLength = 1 << 20

// objectOf reads a body that must be a JSON object. It refuses what Go and Python read
// differently. Of a name that appears twice the last counts in both.
func objectOf(body []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(body) {
		return nil, upstream.WrongField("body", "must be JSON in UTF-8")
	}
	if tooDeep(body, upstream.MaxJSONDepth) {
		return nil, upstream.WrongField("body", "must not be nested deeper than %d", upstream.MaxJSONDepth)
	}
	fields, err := fieldsOf(body)
	if err != nil {
		return nil, upstream.WrongField("body", "%s", bodyProblem(err))
	}
	if fields == nil {
		return nil, upstream.WrongField("body", "must be a JSON object")
	}
	return fields, nil
}

// fieldsOf reads the fields of an object in one pass: encoding/json reads each byte of a
// prompt four times, which was half of the cost of a request. The values are parts of
// body. The result is nil for JSON that is no object.
func fieldsOf(body []byte) (map[string]json.RawMessage, error) {
	d := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	var fields map[string]json.RawMessage
	if d.PeekKind() == '{' {
		fields = map[string]json.RawMessage{}
		if _, err := d.ReadToken(); err != nil {
			return nil, err
		}
		for d.PeekKind() == '"' {
			name, err := d.ReadToken()
			if err != nil {
				return nil, err
			}
			key := name.String() // before the next token invalidates it
			value, err := d.ReadValue()
			if err != nil {
				return nil, err
			}
			end := int(d.InputOffset())
			fields[key] = json.RawMessage(body[end-len(value) : end : end])
		}
		if _, err := d.ReadToken(); err != nil { // the end of the object
			return nil, err
		}
	} else if _, err := d.ReadValue(); err != nil {
		return nil, err
	}
	switch _, err := d.ReadToken(); {
	case errors.Is(err, io.EOF):
		return fields, nil
	case err != nil:
		return nil, err
	}
	return nil, errMoreBody
}

// errMoreBody refuses a body with more than one value.
var errMoreBody = errors.New("something follows its end")

// bodyProblem returns the decoder's error without its quotations, which may hold prompt text.
func bodyProblem(err error) string {
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "is not JSON: it ends too early"
	case errors.Is(err, errMoreBody):
		return "is not JSON: " + errMoreBody.Error()
	case errors.As(err, &syntax):
		return fmt.Sprintf("is not JSON: byte %d is unexpected", syntax.ByteOffset+1)
	}
	return "is not the expected message"
}

// tooDeep reports whether JSON is nested deeper than limit.
func tooDeep(body []byte, limit int) bool {
	depth := 0
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '"':
			i += stringEnd(body[i+1:]) + 1
		case '{', '[':
			if depth++; depth > limit {
				return true
			}
		case '}', ']':
			depth--
		}
	}
	return false
}

// stringEnd returns the index of the quote that ends a JSON string, or the length of rest if
// there is none.
func stringEnd(rest []byte) int {
	for from := 0; ; {
		n := bytes.IndexByte(rest[from:], '"')
		if n < 0 {
			return len(rest)
		}
		quote := from + n
		slashes := 0
		for quote > slashes && rest[quote-slashes-1] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return quote
		}
		from = quote + 1
	}
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(bytes.TrimSpace(raw)) == "null" }

// read decodes a value of exactly the type T. Integers must be whole numbers. Null is not
// a value.
func read[T any](raw json.RawMessage) (v T, ok bool) {
	return v, !isNull(raw) && json.Unmarshal(raw, &v) == nil
}

// readText decodes a string that Go and Python read alike, so not half a surrogate pair.
func readText(raw json.RawMessage) (string, bool) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	text, err := jsontext.AppendUnquote(make([]byte, 0, len(raw)), raw)
	return string(text), err == nil
}
