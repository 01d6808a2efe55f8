package compat

import (
	"cmp"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"paceline/proxy/telemetry"
	"paceline/proxy/upstream"
)

// refuse answers a request that no prompt is made of.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	h.metrics.Refused(r.Context(), cmp.Or(upstream.Refused(err), telemetry.RefusedInvalid))
	writeFailure(w, r, err)
}

// writeFailure answers with an error in one of SGLang's forms.
func writeFailure(w http.ResponseWriter, r *http.Request, err error) {
	st := upstream.ToStatus(err)
	if after := upstream.RetryAfter(st); after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
	}
	if fast := new(upstream.RateError); errors.As(err, &fast) {
		writeTooFast(w, r.URL.Path, st.Message())
		return
	}
	upstream.WriteError(w, httpCode(st), st.Message())
}

// writeTooFast answers a caller that exceeds its rate with 429, in the form that clients of
// the path know. SGLang itself has no rates.
func writeTooFast(w http.ResponseWriter, path, message string) {
	switch {
	case strings.HasPrefix(path, "/v1/messages"): // Anthropic's
		upstream.WriteJSON(w, http.StatusTooManyRequests, map[string]any{
			"type": "error", "error": map[string]any{"type": "rate_limit_error", "message": message},
		})
	case strings.HasPrefix(path, "/api/"): // Ollama's
		upstream.WriteJSON(w, http.StatusTooManyRequests, map[string]any{"error": message})
	case strings.HasPrefix(path, "/v1/"), path == "/invocations": // OpenAI's
		upstream.WriteJSON(w, http.StatusTooManyRequests, map[string]any{
			"error": map[string]any{"message": message, "type": "requests", "param": nil, "code": "rate_limit_exceeded"},
		})
	default:
		upstream.WriteError(w, http.StatusTooManyRequests, message)
	}
}

// WriteUnauthorized answers a request without a known key, as SGLang does.
func WriteUnauthorized(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", "Bearer")
	upstream.WriteJSON(w, http.StatusUnauthorized, map[string]any{"error": "Unauthorized"})
}

func httpCode(st *status.Status) int {
	switch st.Code() {
	case codes.InvalidArgument:
		return http.StatusBadRequest
	case codes.ResourceExhausted, codes.Unavailable, codes.Aborted: // SGLang uses 503 for all of them
		return http.StatusServiceUnavailable
	case codes.DeadlineExceeded:
		return http.StatusGatewayTimeout
	case codes.Canceled:
		return 499 // the client has gone
	}
	return http.StatusInternalServerError
}
