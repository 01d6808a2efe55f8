package api

import (
	"context"
	"errors"
	"math"
	"net"
	"net/http"
	"strconv"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"paceline/proxy/upstream"
)

// pipeBytes is the buffer of the pipe between the gateway and the gRPC server.
const pipeBytes = 1 << 20

// Gateway serves REST by calling a gRPC server of the same process through a pipe. So its
// calls pass the same interceptors and limits as others.
type Gateway struct {
	// Pipe is a listener, which the gRPC server must serve.
	Pipe *bufconn.Listener
	conn *grpc.ClientConn
	mux  *runtime.ServeMux
}

// NewGateway returns a gateway to services. Each of register is a service's generated
// function that registers its handler.
func NewGateway(register ...func(context.Context, *runtime.ServeMux, *grpc.ClientConn) error) (*Gateway, error) {
	g := &Gateway{Pipe: bufconn.Listen(pipeBytes)}
	conn, err := grpc.NewClient("passthrough:///pipe",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return g.Pipe.DialContext(ctx) }),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(math.MaxInt32), // log probabilities make replies of any size
			grpc.MaxCallSendMsgSize(math.MaxInt32), // the server limits it
		))
	if err != nil {
		return nil, err
	}
	g.conn = conn
	g.mux = runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, newJSONBody()),
		runtime.WithMetadata(ownMetadata),
		runtime.WithErrorHandler(errorWithRetryAfter),
		runtime.WithRoutingErrorHandler(wrongMethod),
	)
	for _, service := range register {
		if err := service(context.Background(), g.mux, conn); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return g, nil
}

// streamPath is the path of PrefillStream in the HTTP mapping.
const streamPath = "/v1/prefill:stream"

// Handler serves the gateway with bodies of at most maxBytes, which arrivals counts.
func (g *Gateway) Handler(maxBytes int, arrivals *upstream.Arrivals) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrivals.Body(w, r, int64(maxBytes))
		// PrefillStream replies while it reads. HTTP/1 must be asked for that; HTTP/2
		// needs no asking and returns an error. Other paths don't ask: net/http would
		// close their connection if a part of the body is left unread.
		if r.URL.Path == streamPath {
			_ = http.NewResponseController(w).EnableFullDuplex()
		}
		g.mux.ServeHTTP(w, r)
	})
}

// wrongMethod answers a request whose path exists for another method with 405. The gateway's own
// answer is 501.
func wrongMethod(ctx context.Context, mux *runtime.ServeMux, m runtime.Marshaler, w http.ResponseWriter, r *http.Request, code int) {
	if code != http.StatusMethodNotAllowed {
		runtime.DefaultRoutingErrorHandler(ctx, mux, m, w, r, code)
		return
	}
	err := status.Errorf(codes.Unimplemented, "%s does not take %s", r.URL.Path, r.Method)
	runtime.HTTPError(ctx, mux, m, w, r, &runtime.HTTPStatusError{HTTPStatus: code, Err: err})
}

// Close ends the calls that are left.
func (g *Gateway) Close() error { return g.conn.Close() }

// ownMetadata passes the caller's trace on, because grpc-gateway does not. It says that the
// gateway receives replies of any size.
func ownMetadata(_ context.Context, r *http.Request) metadata.MD {
	md := metadata.Pairs(maxReceive, strconv.Itoa(math.MaxInt32))
	for _, name := range []string{"traceparent", "tracestate", "baggage"} {
		if values := r.Header.Values(name); len(values) > 0 {
			md.Set(name, values...)
		}
	}
	return md
}

// errorWithRetryAfter adds the header Retry-After to an error with RetryInfo. The error of a
// body that the queue has no room for is the queue's, not that of the decoder.
func errorWithRetryAfter(ctx context.Context, mux *runtime.ServeMux, m runtime.Marshaler,
	w http.ResponseWriter, r *http.Request, err error) {
	if body, ok := r.Body.(*upstream.Body); ok && body.Refused() != nil {
		err = upstream.ToStatus(body.Refused()).Err()
	}
	if after := upstream.RetryAfter(status.Convert(err)); after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
	}
	runtime.DefaultHTTPErrorHandler(ctx, mux, m, w, r, err)
}
