// Package otlptest is a collector inside the process, for tests of traces: it takes
// spans over OTLP as a real one does, and tells what it got.
package otlptest

import (
	"context"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// Collector takes spans over OTLP/HTTP and OTLP/gRPC. Its methods may be called from
// any goroutine.
type Collector struct {
	collector.UnimplementedTraceServiceServer

	URL  string // of OTLP over HTTP
	GRPC string // URL of OTLP over gRPC

	// Answer, where not nil, is asked before a request is taken; a status other than
	// 200 refuses it. It may wait. It is set before the first request.
	Answer func() int

	mu      sync.Mutex // guards all below
	spans   []Span
	headers []http.Header
}

// Span is a span as it arrived.
type Span struct {
	Service, Name             string
	TraceID, SpanID, ParentID string // in hex; ParentID is empty at a root
	Kind                      trace.Span_SpanKind
	Start, End                time.Time
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
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a test's own listener
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
func (c *Collector) Export(ctx context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	header := http.Header{}
	for key, values := range md {
		for _, v := range values {
			header.Add(key, v)
		}
	}
	c.take(req, header)
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
	c.take(req, r.Header)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (c *Collector) take(req *collector.ExportTraceServiceRequest, header http.Header) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.headers = append(c.headers, header)
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
	out := Span{
		Service: service, Name: s.GetName(), Kind: s.GetKind(),
		TraceID: hex.EncodeToString(s.GetTraceId()), SpanID: hex.EncodeToString(s.GetSpanId()), ParentID: hex.EncodeToString(s.GetParentSpanId()),
		Start: time.Unix(0, int64(s.GetStartTimeUnixNano())), End: time.Unix(0, int64(s.GetEndTimeUnixNano())), //nolint:gosec // until 2262
		Attributes: attributes(s.GetAttributes()), Resource: resource,
		Error: s.GetStatus().GetCode() == trace.Status_STATUS_CODE_ERROR, Message: s.GetStatus().GetMessage(),
	}
	for _, l := range s.GetLinks() {
		out.Links = append(out.Links, Link{hex.EncodeToString(l.GetTraceId()), hex.EncodeToString(l.GetSpanId()), attributes(l.GetAttributes())})
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

// Spans returns what arrived so far.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Span(nil), c.spans...)
}

// Named returns the spans of one name.
func (c *Collector) Named(name string) []Span {
	var out []Span
	for _, s := range c.Spans() {
		if s.Name == name {
			out = append(out, s)
		}
	}
	return out
}

// Header returns a header of the last request; empty where none came.
func (c *Collector) Header(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.headers) == 0 {
		return ""
	}
	return c.headers[len(c.headers)-1].Get(name)
}
