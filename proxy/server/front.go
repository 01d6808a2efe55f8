package server

import (
	"context"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"paceline/proxy/compat"
	"paceline/proxy/telemetry"
	"paceline/proxy/upstream"
)

// front is the interceptor of every request: it traces and measures it, and then checks its
// key, so that refused requests are seen too. One interceptor costs less than three,
// because the stack of a call is less deep.
type front struct {
	gate    gate
	tracer  *telemetry.Tracer
	metrics *telemetry.Metrics
}

// watched is a gRPC call under way. The zero value is a call that is not watched.
type watched struct {
	trace  context.Context // has the span, if it is sampled
	span   trace.Span      // nil where nothing is traced
	method string          // without the first slash
	began  time.Time
}

// begin starts watching a call, if its method is traced and measured. The returned context
// has the span.
func (f front) begin(ctx context.Context, method string) (context.Context, watched) {
	if !strings.HasPrefix(method, telemetry.ServicePrefix) {
		return ctx, watched{}
	}
	w := watched{method: method[1:], began: time.Now(), trace: context.Background()}
	if f.tracer != nil {
		ctx, w.span = f.tracer.StartCall(ctx, w.method)
		w.trace = f.tracer.Sampled(ctx)
	}
	return ctx, w
}

// finish records how a call ended.
func (f front) finish(w watched, err error) {
	if w.method == "" {
		return
	}
	f.metrics.Call(w.trace, w.method, w.began, err)
	if w.span != nil {
		telemetry.EndCall(w.span, w.method, err)
	}
}

func (f front) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (reply any, err error) {
	ctx, w := f.begin(ctx, info.FullMethod)
	defer func() { f.finish(w, err) }()
	if ctx, err = f.gate.passCall(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	return handle(ctx, req)
}

func (f front) stream(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
	ctx, w := f.begin(s.Context(), info.FullMethod)
	defer func() { f.finish(w, err) }()
	if ctx, err = f.gate.passCall(ctx, info.FullMethod); err != nil {
		return err
	}
	return handle(srv, endingStream{s, ctx})
}

// handler does the same for HTTP requests.
func (f front) handler(h http.Handler) http.Handler {
	h = f.gate.handler(h)
	if f.tracer == nil && f.metrics == nil {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began, route := time.Now(), compat.Route(r.URL.Path)
		s := &statusWriter{ResponseWriter: w}
		if f.tracer != nil {
			ctx, span := f.tracer.StartRequest(r, route)
			r = r.WithContext(ctx)
			defer func() { telemetry.EndRequest(span, r.Method, route, s.code()) }()
		}
		h.ServeHTTP(s, r)
		f.metrics.Served(r, route, s.code(), began)
	})
}

// statusWriter records the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (s *statusWriter) WriteHeader(code int) {
	if s.status == 0 {
		s.status = code
	}
	s.ResponseWriter.WriteHeader(code)
}

// Unwrap lets http.ResponseController flush the writer below.
func (s *statusWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s *statusWriter) code() int {
	if s.status == 0 {
		return http.StatusOK
	}
	return s.status
}

// gate checks keys. A nil keyring accepts every request.
type gate struct {
	keys  *keyring
	admin bool // accepts only admin keys

	metrics *telemetry.Metrics // nil: none
}

// Health probes have no key.
const healthMethods = "/grpc.health.v1.Health/"

// pass returns a context with the caller that the key belongs to.
func (g gate) pass(ctx context.Context, authorization string) (context.Context, error) {
	in, err := g.authenticate(ctx, authorization)
	if err != nil {
		g.metrics.Refused(ctx, telemetry.RefusedKey)
	}
	return in, err
}

func (g gate) authenticate(ctx context.Context, authorization string) (context.Context, error) {
	scheme, token, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "bearer") || token == "" {
		return nil, status.Error(codes.Unauthenticated, "authorization: must be a bearer key")
	}
	switch key := g.keys.find(strings.TrimSpace(token)); {
	case key == nil:
		return nil, status.Error(codes.Unauthenticated, "authorization: not a known key")
	case g.admin && !key.admin:
		return nil, status.Error(codes.PermissionDenied, "authorization: the key does not open the admin listener")
	default:
		return upstream.WithCaller(ctx, &key.caller), nil
	}
}

func (g gate) passCall(ctx context.Context, method string) (context.Context, error) {
	if g.keys == nil || strings.HasPrefix(method, healthMethods) {
		return ctx, nil
	}
	var authorization string
	if values := metadata.ValueFromIncomingContext(ctx, "authorization"); len(values) > 0 {
		authorization = values[0]
	}
	return g.pass(ctx, authorization)
}

// handler passes HTTP requests with a key to h, and refuses others in SGLang's form. It
// removes the key, because SGLang has its own.
func (g gate) handler(h http.Handler) http.Handler {
	if g.keys == nil {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, err := g.pass(r.Context(), r.Header.Get("Authorization"))
		if err != nil {
			compat.WriteUnauthorized(w)
			return
		}
		r = r.WithContext(ctx)
		r.Header.Del("Authorization")
		h.ServeHTTP(w, r)
	})
}
