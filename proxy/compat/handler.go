package compat

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"

	"paceline/proxy/telemetry"
	"paceline/proxy/upstream"
)

// Paths of SGLang 0.5.23 that are passed on, besides those under /v1/. All others are
// refused: they administer the server (weights, cache, profile, sessions) or are unknown. A
// path that a later version adds may do anything.
var (
	passedPaths = []string{
		"/", "/ready", "/ping", "/health", "/health_generate", "/metrics",
		"/model_info", "/get_model_info", "/server_info", "/get_server_info",
		"/tokenize", "/detokenize", "/generate", "/encode", "/classify", "/parse_function_call", "/separate_reasoning",
		"/api/chat", "/api/generate", "/api/tags", "/api/show", "/invocations", "/vertex_generate",
	}
	// uncheckedPaths take texts that the model does not read.
	uncheckedPaths = []string{
		"/tokenize", "/v1/tokenize", "/detokenize", "/v1/detokenize", "/parse_function_call", "/separate_reasoning", "/v1/audio/transcriptions",
	}
)

// Handler answers SGLang's own HTTP interface. It is safe for concurrent use.
type Handler struct {
	up        *upstream.Upstream
	metrics   *telemetry.Metrics // nil: none
	maxBytes  int64
	passAdmin bool

	mux   *http.ServeMux
	calls generateCalls
}

// New returns a handler in front of up that reads bodies of at most maxBytes. With passAdmin
// it passes administrative paths on too. metrics may be nil.
func New(up *upstream.Upstream, metrics *telemetry.Metrics, maxBytes int64, passAdmin bool) *Handler {
	h := &Handler{up: up, metrics: metrics, maxBytes: maxBytes, passAdmin: passAdmin, mux: http.NewServeMux()}
	h.mux.HandleFunc("POST /generate", h.generate)
	h.mux.HandleFunc("PUT /generate", h.generate)
	h.mux.HandleFunc("POST /abort_request", h.abortRequest)
	h.mux.HandleFunc("/", h.pass)
	return h
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// Route returns the name of a path in span names and labels. The number of names is
// bounded.
func Route(path string) string {
	switch {
	case path == "/abort_request", path == "/v1/completions", path == "/v1/chat/completions", slices.Contains(passedPaths, path):
		return path
	case strings.HasPrefix(path, "/v1/"):
		return "/v1/*"
	}
	return "/*"
}

// pass passes a request on. If it may hold a prompt, it is checked before.
func (h *Handler) pass(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	switch {
	case isAdmin(path) && !h.passAdmin:
		upstream.WriteError(w, http.StatusForbidden, path+" is no path of SGLang's for clients: the data port refuses it (pass_admin passes it on)")
	case (r.Method == http.MethodPost || r.Method == http.MethodPut) && !slices.Contains(uncheckedPaths, path) && !isAdmin(path):
		if body, fields, ok := h.readObject(w, r); ok {
			h.passChecked(w, r, body, fields)
		}
	default:
		r.Body = http.MaxBytesReader(w, r.Body, h.maxBytes)
		h.up.Pass(w, r)
	}
}

// isAdmin reports whether a path administers SGLang or is unknown.
func isAdmin(path string) bool {
	// SGLang could read a path that is not clean as another path.
	clean := !strings.Contains(path, "//") && !strings.Contains(path, "/.") && !strings.Contains(path, "\\")
	return !clean || !slices.Contains(passedPaths, path) && !strings.HasPrefix(path, "/v1/")
}

// passChecked passes a body on, unless the shield refuses it.
func (h *Handler) passChecked(w http.ResponseWriter, r *http.Request, body []byte, fields map[string]json.RawMessage) {
	if err := shield(fields, h.up.Snapshot().Limits); err != nil {
		h.refuse(w, r, err)
		return
	}
	h.forward(w, r, body)
}

// forward passes a request on after its body was read.
func (h *Handler) forward(w http.ResponseWriter, r *http.Request, body []byte) {
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.TransferEncoding = nil
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	h.up.Pass(w, r)
}
