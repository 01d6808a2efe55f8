package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	pb "paceline/proto/paceline/v1"
	"paceline/proxy/upstream"
)

// spy is a PrefillService that keeps the metadata of a call.
type spy struct {
	pb.UnimplementedPrefillServiceServer
	metadata metadata.MD
}

func (s *spy) Prefill(ctx context.Context, _ *pb.PrefillRequest) (*pb.PrefillResponse, error) {
	s.metadata, _ = metadata.FromIncomingContext(ctx)
	return &pb.PrefillResponse{}, nil
}

func TestACallersTraceGoesThroughREST(t *testing.T) {
	g, err := NewGateway(pb.RegisterPrefillServiceHandler)
	if err != nil {
		t.Fatal(err)
	}
	behind, s, ended := grpc.NewServer(), new(spy), make(chan struct{})
	pb.RegisterPrefillServiceServer(behind, s)
	go func() { defer close(ended); _ = behind.Serve(g.Pipe) }()
	defer func() { _ = g.Close(); behind.Stop(); <-ended }()

	req := httptest.NewRequest(http.MethodPost, "/v1/prefill", strings.NewReader("{}"))
	req.Header.Set("Traceparent", "00-1-2-01")
	req.Header.Set("Tracestate", "a=b")
	w := httptest.NewRecorder()
	g.Handler(1000, upstream.NewArrivals(func(int64) error { return nil })).ServeHTTP(w, req)
	if w.Code != 200 || !slices.Equal(s.metadata.Get("traceparent"), []string{"00-1-2-01"}) ||
		!slices.Equal(s.metadata.Get("tracestate"), []string{"a=b"}) {
		t.Errorf("%d %s: %v", w.Code, w.Body, s.metadata)
	}
}
