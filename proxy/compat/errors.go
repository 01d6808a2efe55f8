package compat

import (
	"math"
	"net/http"
	"strconv"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"paceline/proxy/telemetry"
	"paceline/proxy/upstream"
)

// refuse answers a request that is wrong, before a prompt is made of it.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	h.metrics.Refused(r.Context(), telemetry.RefusedInvalid)
	writeFailure(w, err)
}

// writeFailure answers with an error in one of SGLang's forms.
func writeFailure(w http.ResponseWriter, err error) {
	st := upstream.ToStatus(err)
	if after := upstream.RetryAfter(st); after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
	}
	upstream.WriteError(w, httpCode(st), st.Message())
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
