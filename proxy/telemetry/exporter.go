package telemetry

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// newExporter returns the exporter that OTEL_TRACES_EXPORTER names, and its name for
// humans, or nil for none. If the variable is not set, there is an exporter only if an
// endpoint is set, because most users have no collector.
func newExporter(ctx context.Context) (_ sdktrace.SpanExporter, name string, err error) {
	switch disabled := os.Getenv("OTEL_SDK_DISABLED"); strings.ToLower(disabled) {
	case "", "false":
	case "true":
		return nil, "", nil
	default:
		return nil, "", fmt.Errorf("OTEL_SDK_DISABLED: must be true or false, got %q", disabled)
	}
	endpoint := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"))
	switch kind := os.Getenv("OTEL_TRACES_EXPORTER"); kind {
	case "none":
		return nil, "", nil
	case "console":
		e, err := stdouttrace.New()
		return e, kind, err
	case "":
		if endpoint == "" {
			return nil, "", nil
		}
	case "otlp":
	default:
		return nil, "", fmt.Errorf("OTEL_TRACES_EXPORTER: must be otlp, console or none, got %q", kind)
	}
	return newOTLP(ctx, endpoint)
}

// newOTLP returns the SDK's OTLP exporter, which reads the standard variables itself. It
// checks those that the SDK would ignore if they are wrong.
func newOTLP(ctx context.Context, endpoint string) (e sdktrace.SpanExporter, name string, err error) {
	if u, err := url.Parse(endpoint); endpoint != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return nil, "", fmt.Errorf("OTEL_EXPORTER_OTLP_ENDPOINT: must be a URL such as http://127.0.0.1:4318, got %q", endpoint)
	}
	protocol := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL"), "http/protobuf")
	switch protocol {
	case "http/protobuf":
		e, err = otlptracehttp.New(ctx)
	case "grpc":
		e, err = otlptracegrpc.New(ctx)
	default:
		return nil, "", fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL: must be grpc or http/protobuf, got %q", protocol)
	}
	name = "otlp over " + protocol
	if endpoint != "" {
		name += " to " + endpoint
	}
	return e, name, err
}

const (
	// queueSize is the default of OTEL_BSP_MAX_QUEUE_SIZE, the max number of spans that
	// wait for a slow collector: those of one second of a busy proxy.
	queueSize = 16384

	// exportSize is the default of OTEL_BSP_MAX_EXPORT_BATCH_SIZE, the max number of
	// spans in one export. An export costs as much CPU time as some dozens of spans.
	exportSize = 2048
)

// Spans counts the sampled spans that have ended, by outcome.
type Spans struct {
	Exported uint64
	Failed   uint64 // the collector refused them or was away
	Dropped  uint64 // the queue was full
	Waiting  uint64 // in the queue or in an export under way
}

// pipeline is the SDK's BatchSpanProcessor and its exporter, with counters at both ends.
// The SDK drops spans when its queue is full and doesn't say how many. So pipeline
// keeps the count of spans under way and drops those that exceed the size of the queue.
type pipeline struct {
	sdktrace.SpanProcessor // the SDK's
	size                   int64
	cut                    context.CancelFunc // cancels exports under way

	exported, failed, dropped atomic.Uint64
	waiting                   atomic.Int64
}

// newPipeline starts the SDK's processor.
func newPipeline(e sdktrace.SpanExporter) (*pipeline, error) {
	size := queueSize
	if text := os.Getenv("OTEL_BSP_MAX_QUEUE_SIZE"); text != "" {
		var err error
		if size, err = strconv.Atoi(text); err != nil || size < 1 {
			return nil, fmt.Errorf("OTEL_BSP_MAX_QUEUE_SIZE: must be at least 1, got %q", text)
		}
	}
	options := []sdktrace.BatchSpanProcessorOption{sdktrace.WithMaxQueueSize(size)}
	if os.Getenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE") == "" { // the SDK reads it
		options = append(options, sdktrace.WithMaxExportBatchSize(min(exportSize, size)))
	}
	cut, cancel := context.WithCancel(context.Background())
	p := &pipeline{size: int64(size), cut: cancel}
	p.SpanProcessor = sdktrace.NewBatchSpanProcessor(&countedExporter{e, p, cut}, options...)
	return p, nil
}

// OnEnd implements sdktrace.SpanProcessor. No sampler here records a span without
// sampling it, so all spans count.
func (p *pipeline) OnEnd(s sdktrace.ReadOnlySpan) {
	if p.waiting.Add(1) > p.size {
		p.waiting.Add(-1)
		p.dropped.Add(1)
		return
	}
	p.SpanProcessor.OnEnd(s)
}

// spans returns the counts so far.
func (p *pipeline) spans() Spans {
	return Spans{p.exported.Load(), p.failed.Load(), p.dropped.Load(), uint64(max(0, p.waiting.Load()))}
}

// countedExporter counts the spans that leave a pipeline.
type countedExporter struct {
	sdktrace.SpanExporter
	pipeline *pipeline
	cut      context.Context // its end cancels an export
}

// ExportSpans implements sdktrace.SpanExporter.
func (c *countedExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.cut, cancel)()
	err := c.SpanExporter.ExportSpans(ctx, spans)
	n := len(spans)
	if err == nil {
		c.pipeline.exported.Add(uint64(n))
	} else {
		c.pipeline.failed.Add(uint64(n))
	}
	c.pipeline.waiting.Add(-int64(n))
	return err
}
