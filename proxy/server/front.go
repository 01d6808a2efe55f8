package server

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
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
	if !strings.HasPrefix(method, telemetry.ServicePrefix) && !strings.HasPrefix(method, telemetry.ScorePrefix) {
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

// messageListener bounds the bytes of unfinished gRPC messages on its connections.
type messageListener struct {
	net.Listener
	arrivals *upstream.Arrivals
}

// Accept implements net.Listener.
func (l messageListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &messageConn{Conn: conn, messages: map[uint32]message{}}
	c.arrival = l.arrivals.New(upstream.Large, func() { _ = conn.Close() })
	c.in.have, c.in.left, c.in.header[3] = frameHeader, prefaceLength, 0xff // the preface is like a frame of an unknown type
	return c, nil
}

// Of HTTP/2 and gRPC.
const (
	prefaceLength, frameHeader, messagePrefix = 24, 9, 5

	frameData, frameHeaders, frameReset = 0, 1, 3
	flagEndStream, flagPadded           = 1, 8
)

// messageConn is a connection that counts the bytes of its gRPC messages that are not
// complete. grpc-go lets a client send all of a message of the max size before it tells
// anybody. So messageConn follows the frames in both directions, and the length before each
// message.
type messageConn struct {
	net.Conn
	arrival *upstream.Arrival
	in, out frames

	mu         sync.Mutex         // guards all below
	messages   map[uint32]message // that arrive, by stream
	unfinished int                // bytes in messages
	counted    int                // of those
}

// message is the part of a message that has arrived on a stream.
type message struct {
	prefix        [messagePrefix]byte // compressed flag and length
	arrived, left int                 // bytes; left is known once the prefix has arrived
}

// frames follows the frames of one direction.
type frames struct {
	header     [frameHeader]byte
	have, left int // bytes of the header, and bytes of the frame to come
}

// each calls on for the parts of frames in b.
func (f *frames) each(b []byte, on func(kind, flags byte, stream uint32, part []byte, last bool)) {
	for len(b) > 0 {
		if f.have < frameHeader {
			n := copy(f.header[f.have:], b)
			f.have, b = f.have+n, b[n:]
			if f.have < frameHeader {
				return
			}
			f.left = int(f.header[0])<<16 | int(f.header[1])<<8 | int(f.header[2])
		}
		n := min(f.left, len(b))
		f.left -= n
		on(f.header[3], f.header[4], binary.BigEndian.Uint32(f.header[5:])&^(1<<31), b[:n], f.left == 0)
		if b = b[n:]; f.left == 0 {
			f.have = 0
		}
	}
}

var errPadded = errors.New("padded DATA frames are refused: no gRPC client sends them")

// Read implements net.Conn.
func (c *messageConn) Read(p []byte) (n int, err error) {
	n, err = c.Conn.Read(p)
	c.mu.Lock()
	c.in.each(p[:n], func(kind, flags byte, stream uint32, part []byte, last bool) {
		m, open := c.messages[stream]
		switch {
		case kind == frameHeaders && flags&flagEndStream == 0:
			c.messages[stream] = m
		case kind == frameReset, kind == frameHeaders, kind == frameData && last && flags&flagEndStream != 0:
			c.unfinished -= m.arrived
			delete(c.messages, stream)
		case kind == frameData && flags&flagPadded != 0:
			err = errPadded
		case kind == frameData && open:
			before := m.arrived
			m.add(part)
			c.messages[stream] = m
			c.unfinished += m.arrived - before
		}
	})
	if c.unfinished/upstream.ArrivalStep != c.counted/upstream.ArrivalStep {
		c.count()
	}
	large := c.unfinished > upstream.Large
	c.mu.Unlock()
	if large {
		c.arrival.Pace(n)
	}
	return n, err
}

// add reads the next part of a stream's messages.
func (m *message) add(part []byte) {
	for len(part) > 0 {
		n := 0
		if m.arrived < messagePrefix {
			n = copy(m.prefix[m.arrived:], part)
			m.left = int(binary.BigEndian.Uint32(m.prefix[1:]))
		} else {
			n = min(m.left, len(part))
			m.left -= n
		}
		m.arrived, part = m.arrived+n, part[n:]
		if m.arrived >= messagePrefix && m.left == 0 {
			*m = message{}
		}
	}
}

// Write implements net.Conn. A stream that the server ends is not read any more.
func (c *messageConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.out.each(p, func(kind, flags byte, stream uint32, _ []byte, _ bool) {
		if kind == frameReset || kind == frameHeaders && flags&flagEndStream != 0 {
			c.unfinished -= c.messages[stream].arrived
			delete(c.messages, stream)
		}
	})
	c.mu.Unlock()
	return c.Conn.Write(p)
}

// count tells the arrivals how many bytes are unfinished. It requires mu.
func (c *messageConn) count() {
	if c.arrival.Add(int64(c.unfinished-c.counted)) == nil {
		c.counted = c.unfinished
	}
}

// Close implements net.Conn.
func (c *messageConn) Close() error {
	c.arrival.Close()
	return c.Conn.Close()
}
