package telemetry

import (
	"context"

	"google.golang.org/grpc/metadata"
)

// Incoming lets a propagator read what a call brings to a gRPC server, without a copy
// of all of it: it is a propagation.TextMapCarrier. It writes nothing.
type Incoming struct{ Call context.Context } //nolint:containedctx // it is about what is in the context

// Get implements propagation.TextMapCarrier.
func (i Incoming) Get(key string) string {
	if values := metadata.ValueFromIncomingContext(i.Call, key); len(values) > 0 {
		return values[0]
	}
	return ""
}

// Set implements propagation.TextMapCarrier.
func (i Incoming) Set(string, string) {}

// Keys implements propagation.TextMapCarrier.
func (i Incoming) Keys() []string {
	md, _ := metadata.FromIncomingContext(i.Call)
	return Metadata(md).Keys()
}

// Metadata lets a propagator read and write what a gRPC call brings: it is a
// propagation.TextMapCarrier.
type Metadata metadata.MD

// Get implements propagation.TextMapCarrier.
func (m Metadata) Get(key string) string {
	if values := metadata.MD(m).Get(key); len(values) > 0 {
		return values[0]
	}
	return ""
}

// Set implements propagation.TextMapCarrier.
func (m Metadata) Set(key, value string) { metadata.MD(m).Set(key, value) }

// Keys implements propagation.TextMapCarrier.
func (m Metadata) Keys() []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	return keys
}
