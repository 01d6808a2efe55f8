package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"

	"paceline/sglang"
)

// Pass forwards a request to SGLang unchanged, and streams its answer back.
func (u *Upstream) Pass(w http.ResponseWriter, r *http.Request) { u.through.ServeHTTP(w, r) }

// Reserve counts a request that is passed on against the rate of its caller. The error is a
// *RateError.
func Reserve(ctx context.Context) error {
	if c := callerOf(ctx, ""); c.Rate != nil {
		return c.reserve()
	}
	return nil
}

// passThrough returns the handler of Pass. closeIdle closes its idle connections.
func (u *Upstream) passThrough() (h http.Handler, closeIdle func()) {
	target, err := url.Parse(u.URL())
	if err != nil {
		panic(err) // New has checked it
	}
	transport := sglang.Transport()
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
