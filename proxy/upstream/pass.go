package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"

	"paceline/sglang"
)

// Pass forwards a request to SGLang unchanged, and streams its answer back.
func (u *Upstream) Pass(w http.ResponseWriter, r *http.Request) { u.through.ServeHTTP(w, r) }

// Reserve counts a request of n prompts that is passed on against the rate of its caller. The
// error is a *RateError.
func Reserve(ctx context.Context, n int) error {
	return CallerOf(ctx, "").reserve(n)
}

// Reply is SGLang's whole answer to one request. Its Status is 0 if the client has gone, or
// if the answer is longer than maxReply.
type Reply struct {
	Status int
	Body   []byte

	header http.Header
	over   bool
}

// maxReply is the max bytes of an answer that Call keeps.
const maxReply = 64 << 20

// Call sends a request as Pass does, with another body, and returns the answer. If SGLang
// does not answer, the reply is the error that Pass would write.
func (u *Upstream) Call(r *http.Request, body []byte) (reply *Reply) {
	reply = &Reply{header: http.Header{}}
	r = r.Clone(r.Context())
	SetBody(r, body)
	defer func() {
		switch v := recover(); {
		case v == http.ErrAbortHandler: //nolint:errorlint // ReverseProxy panics with it if an answer is cut short
			reply = &Reply{header: http.Header{}}
			u.passFailed(reply, r, errCutShort)
		case v != nil:
			panic(v)
		case reply.over:
			reply.Status = 0
		}
	}()
	u.through.ServeHTTP(reply, r)
	return reply
}

var errCutShort = errors.New("the answer was cut short")

// SetBody replaces the body of a request that was read.
func SetBody(r *http.Request, body []byte) {
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.TransferEncoding = nil
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
}

// Answer answers a request with the reply.
func (r *Reply) Answer(w http.ResponseWriter) { r.AnswerWith(w, r.Body) }

// AnswerWith answers a request with the reply and another body.
func (r *Reply) AnswerWith(w http.ResponseWriter, body []byte) {
	maps.Copy(w.Header(), r.header)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(r.Status)
	_, _ = w.Write(body) // an error means that the client has gone
}

// Header implements http.ResponseWriter.
func (r *Reply) Header() http.Header { return r.header }

// WriteHeader implements http.ResponseWriter.
func (r *Reply) WriteHeader(code int) {
	if code >= http.StatusOK { // others come before the answer
		r.Status = code
	}
}

// Write implements http.ResponseWriter.
func (r *Reply) Write(p []byte) (int, error) {
	if r.over = r.over || len(r.Body)+len(p) > maxReply; !r.over {
		r.Body = append(r.Body, p...)
	}
	return len(p), nil
}

// passThrough returns the handler of Pass. closeIdle closes its idle connections.
func (u *Upstream) passThrough() (h http.Handler, closeIdle func()) {
	target, err := url.Parse(u.URL())
	if err != nil {
		panic(err) // New has checked it
	}
	transport := sglang.Transport(u.cfg.Dial)
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
			r.SetXForwarded()
			if u.cfg.Key != "" { // SGLang's own key replaces the client's
				r.Out.Header.Set("Authorization", "Bearer "+u.cfg.Key)
			}
			u.tracer.Inject(r.In.Context(), r.Out.Header)
			r.Out.Header["Idempotency-Key"] = nil // not sent; makes net/http repeat requests that a closing connection lost
		},
		Transport:     transport,
		FlushInterval: -1, // flush each event of a stream at once
		ErrorLog:      slog.NewLogLogger(u.log.Handler(), slog.LevelDebug),
		ErrorHandler:  u.passFailed,
	}, transport.CloseIdleConnections
}

// passFailed answers in SGLang's form if SGLang does not answer.
func (u *Upstream) passFailed(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return // the client has gone
	}
	if large := new(http.MaxBytesError); errors.As(err, &large) { // the client's fault, and not SGLang's
		WriteTooLarge(w, large)
		return
	}
	u.suspect()
	u.log.WarnContext(r.Context(), "a request could not be passed on", "path", r.URL.Path, "error", err)
	w.Header().Set("Retry-After", "2")
	WriteError(w, http.StatusServiceUnavailable, "SGLang can't be reached")
}

// WriteError answers with an error as SGLang does, whose 503 has a form of its own.
func WriteError(w http.ResponseWriter, code int, message string) {
	if code == http.StatusServiceUnavailable {
		WriteJSON(w, code, map[string]any{"object": "error", "message": message, "type": strconv.Itoa(code), "param": nil, "code": code})
		return
	}
	WriteJSON(w, code, map[string]any{"error": map[string]any{"message": message}})
}

// WriteTooLarge answers a request whose body exceeds the limit.
func WriteTooLarge(w http.ResponseWriter, err *http.MaxBytesError) {
	WriteError(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", err.Limit))
}

// WriteJSON answers with a value as JSON.
func WriteJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // an error means that the client has gone
}
