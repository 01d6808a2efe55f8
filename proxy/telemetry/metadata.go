package telemetry

import "google.golang.org/grpc/metadata"

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
