// Package otlptest provides a collector for tests, which receives spans over OTLP and
// returns them.
package otlptest

import (
	"context"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// Collector receives spans over OTLP/HTTP and OTLP/gRPC. Its methods may be called from
// any goroutine.
type Collector struct {
	collector.UnimplementedTraceServiceServer

	URL  string // of OTLP over HTTP
	GRPC string // URL of OTLP over gRPC

	// Answer, if not nil, is called for each HTTP request, and may block. A status other
	// than 200 refuses the request. It must be set before the first request.
	Answer func() int

	mu     sync.Mutex // guards all fields below
	spans  []Span
	header http.Header // of the last request
}

// Span is a span as it arrived.
type Span struct {
	Service, Name             string
	TraceID, SpanID, ParentID string // in hex; ParentID is empty at a root
	Attributes, Resource      map[string]any
	Links                     []Link
	Error                     bool
	Message                   string // of the status
}

// Link is a link of a span.
type Link struct {
	TraceID, SpanID string
	Attributes      map[string]any
}

// New starts a collector that ends with the test.
func New(t testing.TB) *Collector {
	c := &Collector{}
	web := httptest.NewServer(http.HandlerFunc(c.serveHTTP))
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it ends with the test
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, c)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) }) // ends with Stop
	t.Cleanup(func() {
		web.CloseClientConnections()
		web.Close()
		server.Stop()
		serving.Wait()
	})
	c.URL, c.GRPC = web.URL, "http://"+l.Addr().String()
	return c
}

// Export implements the collector's gRPC service.
func (c *Collector) Export(
	ctx context.Context, req *collector.ExportTraceServiceRequest,
) (*collector.ExportTraceServiceResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	header := http.Header{}
	for key, values := range md {
		for _, v := range values {
			header.Add(key, v)
		}
	}
	c.receive(req, header)
	return &collector.ExportTraceServiceResponse{}, nil
}

func (c *Collector) serveHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, "not OTLP", http.StatusBadRequest)
		return
	}
	if c.Answer != nil {
		if code := c.Answer(); code != http.StatusOK {
			http.Error(w, "refused", code)
			return
		}
	}
	req := &collector.ExportTraceServiceRequest{}
	if err := proto.Unmarshal(body, req); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.receive(req, r.Header)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (c *Collector) receive(req *collector.ExportTraceServiceRequest, header http.Header) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.header = header
	for _, rs := range req.GetResourceSpans() {
		resource := attributes(rs.GetResource().GetAttributes())
		service, _ := resource["service.name"].(string)
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				c.spans = append(c.spans, read(s, service, resource))
			}
		}
	}
}

func read(s *trace.Span, service string, resource map[string]any) Span {
	id := hex.EncodeToString
	out := Span{
		Service: service, Name: s.GetName(),
		TraceID: id(s.GetTraceId()), SpanID: id(s.GetSpanId()), ParentID: id(s.GetParentSpanId()),
		Attributes: attributes(s.GetAttributes()), Resource: resource,
		Error: s.GetStatus().GetCode() == trace.Status_STATUS_CODE_ERROR, Message: s.GetStatus().GetMessage(),
	}
	for _, l := range s.GetLinks() {
		out.Links = append(out.Links, Link{id(l.GetTraceId()), id(l.GetSpanId()), attributes(l.GetAttributes())})
	}
	return out
}

func attributes(kvs []*common.KeyValue) map[string]any {
	out := make(map[string]any, len(kvs))
	for _, kv := range kvs {
		switch v := kv.GetValue().GetValue().(type) {
		case *common.AnyValue_StringValue:
			out[kv.GetKey()] = v.StringValue
		case *common.AnyValue_IntValue:
			out[kv.GetKey()] = v.IntValue
		case *common.AnyValue_DoubleValue:
			out[kv.GetKey()] = v.DoubleValue
		case *common.AnyValue_BoolValue:
			out[kv.GetKey()] = v.BoolValue
		default:
			out[kv.GetKey()] = kv.GetValue().String()
		}
	}
	return out
}

// Spans returns the spans that arrived so far.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

// Named returns the spans of one name.
func (c *Collector) Named(name string) []Span {
	return slices.DeleteFunc(c.Spans(), func(s Span) bool { return s.Name != name })
}

// Header returns a header of the last request, or an empty string.
func (c *Collector) Header(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.header.Get(name)
}
