// Package telemetry sets up tracing from the standard OTEL_* variables, for the
// proxy and for loadgen, and holds the names of attributes and metrics.
//
// Without an endpoint there is no exporter and no cost. A collector that is away or
// slow costs nobody time: what the queue has no room for is dropped and counted.
package telemetry

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/contrib/propagators/autoprop"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Tracing is where spans go. Its methods may be called from any goroutine.
type Tracing struct {
	Provider   trace.TracerProvider          // nil: no spans are made
	Propagator propagation.TextMapPropagator // never nil
	Sampler    string                        // as OTEL_TRACES_SAMPLER says
	Exporter   string                        // where spans go, for people

	sdk    *sdktrace.TracerProvider
	cut    context.CancelFunc // breaks off exports under way
	counts counts
}

// Spans counts what became of the sampled spans that ended.
type Spans struct {
	Exported uint64
	Failed   uint64 // the collector did not take them
	Dropped  uint64 // the queue had no room for them
	Waiting  uint64 // in the queue or on their way
}

type counts struct {
	exported, failed, dropped atomic.Uint64
	waiting                   atomic.Int64
}

// Spans tells what became of the spans so far.
func (t *Tracing) Spans() Spans {
	return Spans{t.counts.exported.Load(), t.counts.failed.Load(), t.counts.dropped.Load(), uint64(max(0, t.counts.waiting.Load()))}
}

// mostLinks is the largest batch there is. The SDK keeps 128 links and drops the
// others without a word.
const mostLinks = 4096

// queueSize is how many spans wait for a slow collector, unless
// OTEL_BSP_MAX_QUEUE_SIZE says otherwise: a second of a busy proxy.
const queueSize = 16384

// exportSize is how many spans an export has at most, unless
// OTEL_BSP_MAX_EXPORT_BATCH_SIZE says otherwise: an export costs as much as some
// dozens of spans.
const exportSize = 2048

// Defaults hold where the environment says nothing.
type Defaults struct {
	Service string // OTEL_SERVICE_NAME
	Version string // of the service
	Sampler string // OTEL_TRACES_SAMPLER; empty: parentbased_always_on
	Ratio   string // OTEL_TRACES_SAMPLER_ARG; empty: 1
}

// Start reads the environment and starts exporting. An error names the variable and
// what was expected. The result is to be shut down.
func Start(ctx context.Context, d Defaults) (*Tracing, error) {
	t := &Tracing{}
	var err error
	if t.Propagator, err = propagator(); err != nil {
		return nil, err
	}
	exporter, err := t.exporter(ctx)
	if err != nil || exporter == nil {
		return t, err
	}
	sampler, err := newSampler(d)
	if err != nil {
		return nil, err
	}
	res, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", d.Service), attribute.String("service.version", d.Version)),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	limits := sdktrace.NewSpanLimits() // of the environment
	limits.LinkCountLimit = max(limits.LinkCountLimit, mostLinks)
	queue := queueSize
	if text := os.Getenv("OTEL_BSP_MAX_QUEUE_SIZE"); text != "" {
		if queue, err = strconv.Atoi(text); err != nil || queue < 1 {
			return nil, fmt.Errorf("OTEL_BSP_MAX_QUEUE_SIZE: must be at least 1, got %q", text)
		}
	}
	options := []sdktrace.BatchSpanProcessorOption{sdktrace.WithMaxQueueSize(queue)}
	if os.Getenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE") == "" { // else the SDK reads it
		options = append(options, sdktrace.WithMaxExportBatchSize(min(exportSize, queue)))
	}
	t.Sampler = sampler.name
	cut, cancel := context.WithCancel(context.Background())
	t.cut = cancel
	exports := sdktrace.NewBatchSpanProcessor(&countingExporter{exporter, cut, &t.counts}, options...)
	processor := newGathering(exports, queue, &t.counts)
	t.sdk = sdktrace.NewTracerProvider(
		sdktrace.WithResource(res),
		sdktrace.WithSampler(sampler),
		sdktrace.WithRawSpanLimits(limits),
		sdktrace.WithSpanProcessor(processor),
	)
	if t.Provider = t.sdk; unlimited(limits) {
		t.Provider = &provider{t.sdk, sampler, processor, res}
	}
	return t, nil
}

// shutdownPatience is how long the end of a process waits for a collector.
const shutdownPatience = 3 * time.Second

// Shutdown exports what waits. After 3 seconds, or when ctx ends, it breaks off what
// is under way: nothing of it goes on after Shutdown has returned.
func (t *Tracing) Shutdown(ctx context.Context) error {
	if t.sdk == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, shutdownPatience)
	defer cancel()
	defer context.AfterFunc(ctx, t.cut)()
	// The SDK would leave its goroutine behind where its context ends first.
	err := t.sdk.Shutdown(context.WithoutCancel(ctx))
	return cmp.Or(ctx.Err(), err)
}

// End is Shutdown, which tells log of spans that were lost.
func (t *Tracing) End(log *slog.Logger) {
	err := t.Shutdown(context.Background())
	if s := t.Spans(); err != nil || s.Failed+s.Dropped+s.Waiting > 0 {
		log.Warn("spans were lost", "exported", s.Exported, "refused_by_collector", s.Failed, "no_room", s.Dropped, "left", s.Waiting, "error", err)
	}
}

// exporter is the one that OTEL_TRACES_EXPORTER names; nil for none. Where nothing is
// named, an endpoint must be: most who run a proxy have no collector.
func (t *Tracing) exporter(ctx context.Context) (sdktrace.SpanExporter, error) {
	disabled, err := flag("OTEL_SDK_DISABLED")
	if err != nil || disabled {
		return nil, err
	}
	endpoint := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"))
	switch name := os.Getenv("OTEL_TRACES_EXPORTER"); name {
	case "none":
		return nil, nil
	case "console":
		t.Exporter = "console"
		return stdouttrace.New()
	case "":
		if endpoint == "" {
			return nil, nil
		}
	case "otlp":
	default:
		return nil, fmt.Errorf("OTEL_TRACES_EXPORTER: must be otlp, console or none, got %q", name)
	}
	if u, err := url.Parse(endpoint); endpoint != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_ENDPOINT: must be a URL such as http://127.0.0.1:4318, got %q", endpoint)
	}
	protocol := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL"), "http/protobuf")
	t.Exporter = "otlp over " + protocol
	if endpoint != "" {
		t.Exporter += " to " + endpoint
	}
	switch protocol {
	case "http/protobuf":
		return newOTLP(ctx, otlptracehttp.NewClient())
	case "grpc":
		return newOTLP(ctx, otlptracegrpc.NewClient())
	}
	return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL: must be grpc or http/protobuf, got %q", protocol)
}

func flag(name string) (bool, error) {
	switch v := strings.ToLower(os.Getenv(name)); v {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, fmt.Errorf("%s: must be true or false, got %q", name, v)
	}
}

func propagator() (propagation.TextMapPropagator, error) {
	names := os.Getenv("OTEL_PROPAGATORS")
	if names == "" {
		names = "tracecontext,baggage"
	}
	p, err := autoprop.TextMapPropagator(strings.Split(names, ",")...)
	if err != nil {
		return nil, fmt.Errorf("OTEL_PROPAGATORS: %w", err)
	}
	return p, nil
}

// countingExporter counts what an exporter takes and what it doesn't.
type countingExporter struct {
	sdktrace.SpanExporter
	cut    context.Context // its end breaks off an export
	counts *counts
}

// ExportSpans implements sdktrace.SpanExporter.
func (c *countingExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.cut, cancel)()
	err := c.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		c.counts.exported.Add(uint64(len(spans)))
	} else {
		c.counts.failed.Add(uint64(len(spans)))
	}
	c.counts.waiting.Add(-int64(len(spans)))
	return err
}
