package telemetry

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

// otlp exports spans over one of the SDK's clients, which know all that the standard
// variables say of endpoints, headers, certificates and repeating. It replaces
// otlptrace.Exporter, which makes a tree of some hundred messages of a request's spans
// before it writes them: that was half of what tracing cost.
type otlp struct{ client otlptrace.Client }

func newOTLP(ctx context.Context, c otlptrace.Client) (sdktrace.SpanExporter, error) {
	return otlp{c}, c.Start(ctx)
}

// ExportSpans implements sdktrace.SpanExporter.
func (o otlp) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	all := make([]*tracepb.ResourceSpans, 0, 1)
	for len(spans) > 0 {
		n := 1
		for n < len(spans) && spans[n].Resource() == spans[0].Resource() {
			n++
		}
		// What a message does not know it writes as it is.
		written := new(tracepb.ResourceSpans)
		written.ProtoReflect().SetUnknown(appendResourceSpans(make([]byte, 0, n*bytesOfSpan), spans[:n]))
		all, spans = append(all, written), spans[n:]
	}
	if len(all) == 0 {
		return nil
	}
	if err := o.client.UploadTraces(ctx, all); err != nil {
		return fmt.Errorf("traces export: %w", err)
	}
	return nil
}

// bytesOfSpan is about as long as a span is when it is written.
const bytesOfSpan = 512

// Shutdown implements sdktrace.SpanExporter.
func (o otlp) Shutdown(ctx context.Context) error { return o.client.Stop(ctx) }
