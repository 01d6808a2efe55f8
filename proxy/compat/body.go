package compat

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"paceline/proxy/upstream"
)

// readBody reads the body of a request and calls parse with it. It refuses a compressed body
// and headers that change what SGLang reads: SGLang would read another request than the one
// checked. If ok is false, the request is answered.
func (h *Handler) readBody(w http.ResponseWriter, r *http.Request, parse func(body []byte) error) (ok bool) {
	for _, name := range []string{"Content-Encoding", "X-Body-Compressed"} {
		if v := strings.Join(r.Header.Values(name), ","); v != "" && v != "identity" {
			upstream.WriteError(w, http.StatusUnsupportedMediaType, name+": must be absent, got "+strconv.Quote(v))
			return false
		}
	}
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Override-") && !h.allowed[strings.ToLower(name)] { // SGLang's, for what a body says
			upstream.WriteError(w, http.StatusBadRequest,
				name+": is refused: it changes the request that is checked (the setting allow_fields lets it pass)")
			return false
		}
	}
	in := h.up.Arrivals.Body(w, r, h.maxBytes)
	parts, err := readAll(in, r.ContentLength)
	var large *http.MaxBytesError
	switch {
	case in.Refused() != nil:
		h.refuse(w, r, in.Refused())
		return false
	case errors.As(err, &large):
		upstream.WriteTooLarge(w, large)
		return false
	case err != nil:
		return false // the client has gone
	}
	if len(parts) > largeParts {
		h.large <- struct{}{}
		defer func() { <-h.large }()
	}
	if err := parse(bytes.Join(parts, nil)); err != nil {
		h.refuse(w, r, err)
		return false
	}
	return true
}

// readAll reads all of a body of an announced length, -1 for none. It does not double one
// buffer, because an unfinished body would then take up to three times its bytes.
func readAll(r io.Reader, announced int64) ([][]byte, error) {
	var parts [][]byte
	part := make([]byte, 0, bytes.MinRead+min(max(0, announced), trustedLength))
	for {
		n, err := r.Read(part[len(part):cap(part)])
		part = part[:len(part)+n]
		switch {
		case errors.Is(err, io.EOF):
			return append(parts, part), nil
		case err != nil:
			return nil, err
		case len(part) == cap(part):
			parts, part = append(parts, part), make([]byte, 0, nextLength)
		}
	}
}

// nextLength is the number of bytes for which memory is taken at once after the first.
const nextLength = 256 << 10

// largeParts is the number of parts beyond which a body is large: 1 MiB. Large bodies are
// parsed a few at a time, because each takes its memory twice then, and a CPU for up to a
// second.
const largeParts = 4

// trustedLength is the max bytes of an announced length that are allocated before they
// arrive.
const trustedLength = 256 << 10

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(bytes.TrimSpace(raw)) == "null" }

// read decodes a value of exactly the type T. Integers must be whole numbers. Null is not
// a value.
func read[T any](raw json.RawMessage) (v T, ok bool) {
	return v, !isNull(raw) && json.Unmarshal(raw, &v) == nil
}
