package server

import (
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"
)

// Limits of HTTP connections. Bodies have no time limit: a drain or a long prompt may take
// as long as its caller waits.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
)

// notFromPages passes requests to h, but not those of a web page of another site.
//
// A page can make its user's browser ask us, and SGLang's own CORS headers would let it read
// the answer. So a request with an Origin must be from the same host, a GET too. A page could
// also point its own host name at loopback (DNS rebinding): a local listener, which is
// protected only because it is on loopback, answers only under a loopback name. Clients that
// are no browser send no Origin, and elsewhere than on loopback any name is right.
func notFromPages(h http.Handler, local bool) http.Handler {
	var protection http.CrossOriginProtection
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked := r
		if mode := r.Header.Get("Sec-Fetch-Mode"); r.Header.Get("Origin") != "" || mode != "" && mode != "navigate" {
			asked = &http.Request{Method: http.MethodPost, Header: r.Header, Host: r.Host, URL: r.URL} // Check passes each GET
		}
		if err := protection.Check(asked); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		if local && r.Host != "" && !loopback(hostOf(r.Host)) { // a browser sends a Host
			http.Error(w, "a listener on loopback answers only under a loopback name", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func hostOf(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.Trim(hostport, "[]")
}

// restHandler serves the data port over HTTP: health, REST through the gateway, and SGLang's
// own interface on all other paths.
func restHandler(rest, sglang http.Handler, r *readiness) http.Handler {
	mux := http.NewServeMux()
	handleHealth(mux, r)
	for _, path := range []string{"/v1/prefill", "/v1/prefill:stream", "/v1/paceline/score", "/v1/paceline/score:stream"} {
		mux.Handle(path, rest)
	}
	mux.Handle("/", sglang)
	return mux
}

// handleHealth adds /healthz (the process answers) and /readyz (it accepts prompts).
func handleHealth(mux *http.ServeMux, r *readiness) {
	mux.Handle("/healthz", getOnly(func(w http.ResponseWriter, _ *http.Request) { writeHealth(w, http.StatusOK, "alive") }))
	mux.Handle("/readyz", getOnly(func(w http.ResponseWriter, _ *http.Request) {
		if v := r.now(); !v.ready {
			writeHealth(w, http.StatusServiceUnavailable, "not ready: "+v.reason)
			return
		}
		writeHealth(w, http.StatusOK, "ready")
	}))
}

// getOnly answers other methods than GET and HEAD with 405. A pattern with the method would leave
// them to the handler of all other paths.
func getOnly(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, r.URL.Path+" takes GET, not "+r.Method, http.StatusMethodNotAllowed)
			return
		}
		h(w, r)
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

// adminHandler serves gRPC and REST on one port, told apart by content type. A web page can't
// send gRPC.
func adminHandler(server *grpc.Server, rest http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
			server.ServeHTTP(w, r)
			return
		}
		rest.ServeHTTP(w, r)
	})
}
