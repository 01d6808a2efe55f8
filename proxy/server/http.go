package server

import (
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"

	"paceline/proxy/api"
)

// Limits of HTTP connections. Bodies have no time limit: a drain or a long prompt may take
// as long as its caller waits.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
)

// restHandler serves the data port over HTTP: health, REST through the gateway, and SGLang's
// own interface on all other paths.
func restHandler(g *api.Gateway, sglang http.Handler, maxBytes int, r *readiness) http.Handler {
	mux := http.NewServeMux()
	handleHealth(mux, r)
	rest := g.Handler(maxBytes)
	mux.Handle("/v1/prefill", rest)
	mux.Handle("/v1/prefill:stream", rest)
	mux.Handle("/", sglang)
	return http.NewCrossOriginProtection().Handler(mux)
}

// handleHealth adds /healthz (the process answers) and /readyz (it accepts prompts).
func handleHealth(mux *http.ServeMux, r *readiness) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { writeHealth(w, http.StatusOK, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if v := r.now(); !v.ready {
			writeHealth(w, http.StatusServiceUnavailable, "not ready: "+v.reason)
			return
		}
		writeHealth(w, http.StatusOK, "ready")
	})
}

func writeHealth(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text+"\n") // an error means that the prober has gone
}

// httpServer serves h over HTTP/1 and HTTP/2, with and without TLS.
func httpServer(h http.Handler) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:           h,
		Protocols:         protocols,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
	}
}

// adminHandler serves gRPC and REST on one port, told apart by content type.
//
// A local port is protected only because it is on loopback. A web page could point its own
// host name at loopback (DNS rebinding), so REST is refused there under such a name. gRPC
// needs no check, because a web page can't send it.
func adminHandler(server *grpc.Server, rest http.Handler, local bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc"):
			server.ServeHTTP(w, r)
		case local && !loopback(hostOf(r.Host)):
			http.Error(w, "the admin port answers only under a loopback name", http.StatusForbidden)
		default:
			rest.ServeHTTP(w, r)
		}
	})
}

func hostOf(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.Trim(hostport, "[]")
}
