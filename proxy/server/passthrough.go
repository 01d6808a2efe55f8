package server

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"

	"paceline/sglang"
)

// Paths of SGLang 0.5.23 that the data port passes on, besides those under /v1/.
// All others administer the server (weights, cache, profile, sessions) or are not
// known, and are refused: a path that a later version adds may do anything.
var (
	passedPaths = []string{
		"/", "/ready", "/ping", "/health", "/health_generate", "/metrics",
		"/model_info", "/get_model_info", "/server_info", "/get_server_info",
		"/tokenize", "/detokenize", "/generate", "/encode", "/classify", "/parse_function_call", "/separate_reasoning",
		"/api/chat", "/api/generate", "/api/tags", "/api/show", "/invocations", "/vertex_generate",
	}
	// unshielded paths take texts that no model reads.
	unshielded = []string{
		"/tokenize", "/v1/tokenize", "/detokenize", "/v1/detokenize", "/parse_function_call", "/separate_reasoning", "/v1/audio/transcriptions",
	}
)

// passThrough sends requests to SGLang as they came, and streams its answers back.
// closeIdle closes the connections that carry nothing.
func passThrough(c *sglang.Client, key string, t *tracer, log *slog.Logger) (h http.Handler, closeIdle func()) {
	target, err := url.Parse(c.URL())
	if err != nil {
		panic(err) // the client was made with it
	}
	transport := sglang.Transport()
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
			r.SetXForwarded()
			if key != "" { // SGLang's own: what the client has is not for it
				r.Out.Header.Set("Authorization", "Bearer "+key)
			}
			t.inject(r.In.Context(), r.Out.Header)
			r.Out.Header["Idempotency-Key"] = nil // not sent; net/http then repeats what a closing connection lost
		},
		Transport:     transport,
		FlushInterval: -1, // each event of a stream at once
		ErrorLog:      slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() != nil {
				return // the client has gone
			}
			log.WarnContext(r.Context(), "a request could not be passed on", "path", r.URL.Path, "error", err)
			w.Header().Set("Retry-After", "2")
			writeJSONError(w, http.StatusServiceUnavailable, map[string]any{
				"object": "error", "message": "SGLang can't be reached", "type": "503", "param": nil, "code": http.StatusServiceUnavailable,
			})
		},
	}, transport.CloseIdleConnections
}

// ServeHTTP passes a request on, through the shield where it may bear a prompt.
func (d *dropIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	switch {
	case !d.passes(path):
		writeJSONError(w, http.StatusForbidden, map[string]any{"error": map[string]any{
			"message": path + " is no path of SGLang's for clients: the data port refuses it (-pass-admin passes it on)"}})
	case (r.Method == http.MethodPost || r.Method == http.MethodPut) && !slices.Contains(unshielded, path) && !d.isAdmin(path):
		body, ok := d.body(w, r)
		if !ok {
			return
		}
		fields, err := objectOf(body)
		if err != nil {
			d.refuse(w, r, err)
			return
		}
		d.passOn(w, r, body, fields)
	default:
		r.Body = http.MaxBytesReader(w, r.Body, d.maxBytes)
		d.service.pool.ServeHTTP(w, r)
	}
}

func (d *dropIn) passes(path string) bool { return d.passAdmin || !d.isAdmin(path) }

func (d *dropIn) isAdmin(path string) bool {
	// A path that is not clean could be another one to SGLang than it is here.
	clean := !strings.Contains(path, "//") && !strings.Contains(path, "/.") && !strings.Contains(path, "\\")
	return !clean || !slices.Contains(passedPaths, path) && !strings.HasPrefix(path, "/v1/")
}

// passOn passes a body on that the shield lets through.
func (d *dropIn) passOn(w http.ResponseWriter, r *http.Request, body []byte, fields map[string]json.RawMessage) {
	if err := shield(fields, d.service.pool.state().limits); err != nil {
		d.refuse(w, r, err)
		return
	}
	d.forward(w, r, body)
}

// forward passes a request on whose body has been read.
func (d *dropIn) forward(w http.ResponseWriter, r *http.Request, body []byte) {
	withBody(r, body)
	d.service.pool.ServeHTTP(w, r)
}

// withBody gives a request the body that was read from it.
func withBody(r *http.Request, body []byte) {
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.TransferEncoding = nil
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
}
