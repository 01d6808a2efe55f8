package server

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
)

// front is what every gRPC call passes: it is traced and measured, and then asked
// for its key, so that a refused one is seen, too. One interceptor costs less than
// three: a call's stack is no deeper than it must be.
type front struct {
	gate    gate
	tracer  *tracer
	metrics *metrics
}

func (f front) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (reply any, err error) {
	if traced(info.FullMethod) {
		began := time.Now()
		var span trace.Span
		if f.tracer != nil {
			ctx, span = f.tracer.call(ctx, info.FullMethod)
		}
		defer func() { f.end(ctx, span, info.FullMethod, began, err) }()
	}
	in, err := f.gate.passCall(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	return handle(in, req)
}

func (f front) stream(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
	ctx := s.Context()
	if traced(info.FullMethod) {
		began := time.Now()
		var span trace.Span
		if f.tracer != nil {
			ctx, span = f.tracer.call(ctx, info.FullMethod)
		}
		defer func() { f.end(ctx, span, info.FullMethod, began, err) }()
	}
	in, err := f.gate.passCall(ctx, info.FullMethod)
	if err != nil {
		return err
	}
	return handle(srv, endingStream{s, in})
}

// end notes how a call ended; span is nil where nothing is traced.
func (f front) end(ctx context.Context, span trace.Span, method string, began time.Time, err error) {
	f.metrics.call(ctx, method[1:], began, err)
	if span != nil {
		endCall(span, method[1:], err)
		span.End()
	}
}
