package server

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
)

// pipeBytes is the buffer of the pipe between gateway and gRPC server.
const pipeBytes = 1 << 20

// Limits of HTTP connections. Bodies have no time limit: a drain or a long
// prompt may take as long as its caller likes to wait.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
)

// gateway serves REST by calling a gRPC server of the same process through a
// pipe: the call passes the same interceptors and limits as any other.
type gateway struct {
	pipe *bufconn.Listener
	conn *grpc.ClientConn
	mux  *runtime.ServeMux
}

type registerFunc func(context.Context, *runtime.ServeMux, *grpc.ClientConn) error

func newGateway(register registerFunc) (*gateway, error) {
	g := &gateway{pipe: bufconn.Listen(pipeBytes)}
	conn, err := grpc.NewClient("passthrough:///pipe",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return g.pipe.DialContext(ctx) }),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(math.MaxInt32), // a reply with log probabilities is as large as was asked for
			grpc.MaxCallSendMsgSize(math.MaxInt32), // the server has the limit
		))
	if err != nil {
		return nil, err
	}
	g.conn = conn
	g.mux = runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, newJSONBody()),
		runtime.WithMetadata(traceMetadata),
		runtime.WithErrorHandler(errorWithRetryAfter),
	)
	if err := register(context.Background(), g.mux, conn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return g, nil
}

// streamPath is that of PrefillStream, as the HTTP mapping says.
const streamPath = "/v1/prefill:stream"

// handler serves the gateway with bodies of at most maxBytes. A browser's
// request from another site is refused: it comes with the user's network
// position and without the user's knowledge.
func (g *gateway) handler(maxBytes int) http.Handler {
	limited := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, int64(maxBytes))
		// PrefillStream answers while it still reads. Only HTTP/1 needs asking;
		// HTTP/2 says that it does not support being asked. Others are not asked for:
		// net/http ends their connection where a part of the body is left unread.
		if r.URL.Path == streamPath {
			_ = http.NewResponseController(w).EnableFullDuplex()
		}
		g.mux.ServeHTTP(w, r)
	})
	return http.NewCrossOriginProtection().Handler(limited)
}

func (g *gateway) close() error { return g.conn.Close() }

// traceMetadata passes the caller's trace on, which grpc-gateway doesn't by
// itself.
func traceMetadata(_ context.Context, r *http.Request) metadata.MD {
	md := metadata.MD{}
	for _, name := range []string{"traceparent", "tracestate", "baggage"} {
		if values := r.Header.Values(name); len(values) > 0 {
			md.Set(name, values...)
		}
	}
	return md
}

// errorWithRetryAfter says in HTTP's own words, too, when to try again.
func errorWithRetryAfter(ctx context.Context, mux *runtime.ServeMux, m runtime.Marshaler,
	w http.ResponseWriter, r *http.Request, err error) {
	if after := retryAfter(status.Convert(err)); after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
	}
	runtime.DefaultHTTPErrorHandler(ctx, mux, m, w, r, err)
}

// restHandler is the HTTP side of the data port: health for those who ask over
// HTTP, REST through the gateway, and SGLang's own interface on all other paths.
func restHandler(g *gateway, d *dropIn, f front, maxBytes int, r *readiness) http.Handler {
	mux := http.NewServeMux()
	handleHealth(mux, r)
	rest := g.handler(maxBytes)
	mux.Handle("/v1/prefill", rest)
	mux.Handle("/v1/prefill:stream", rest)
	generate := f.handler(http.HandlerFunc(d.generate))
	mux.Handle("POST /generate", generate)
	mux.Handle("PUT /generate", generate)
	mux.Handle("POST /abort_request", f.handler(http.HandlerFunc(d.abortRequest)))
	mux.Handle("/", f.handler(d))
	return http.NewCrossOriginProtection().Handler(mux)
}

// handleHealth adds the two questions of a prober: whether the process answers, and
// whether it would take prompts.
func handleHealth(mux *http.ServeMux, r *readiness) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { sayHealth(w, http.StatusOK, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if v := r.now(); !v.ready {
			sayHealth(w, http.StatusServiceUnavailable, "not ready: "+v.reason)
			return
		}
		sayHealth(w, http.StatusOK, "ready")
	})
}

func sayHealth(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text+"\n") // the prober has gone: nobody to tell
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
