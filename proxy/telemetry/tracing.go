// Package telemetry provides traces, metrics and the log of the proxy. It only observes and
// decides nothing about a request. loadgen uses its traces.
//
// The OpenTelemetry SDK makes, batches and exports spans, as the standard OTEL_* variables
// say; Start adds an error that names a wrong variable, a sampler that samples a batch if
// any of its requests is sampled, and counts of the spans that were exported, refused and
// dropped. Without an endpoint there is no exporter and no cost. A collector that is away
// or slow delays nobody: spans that exceed the queue are dropped and counted.
//
// Read names.go first: the spans and their attributes. The packages of the proxy call
// tracer.go for spans and metrics.go for metrics. gauges.go has what is read at a scrape.
// tracing.go, exporter.go and sampler.go are the set-up, and quietlog.go is the log.
package telemetry

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/contrib/propagators/autoprop"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Tracing is the set-up of tracing. Its methods may be called from any goroutine.
type Tracing struct {
	Provider   trace.TracerProvider          // nil: no spans are made
	Propagator propagation.TextMapPropagator // never nil
	Sampler    string                        // as OTEL_TRACES_SAMPLER says
	Exporter   string                        // the exporter, for humans

	sdk      *sdktrace.TracerProvider // nil where Provider is
	pipeline *pipeline
}

// Defaults are the values of variables that are not set.
type Defaults struct {
	Service string // OTEL_SERVICE_NAME
	Version string // of the service
	Sampler string // OTEL_TRACES_SAMPLER; empty: parentbased_always_on
	Ratio   string // OTEL_TRACES_SAMPLER_ARG; empty: 1
}

// maxLinks is the max size of a batch. By default the SDK keeps 128 links and drops the
// others silently.
const maxLinks = 4096

// Start reads the environment and starts exporting. An error names the variable and what
// was expected. The caller must shut the result down.
func Start(ctx context.Context, d Defaults) (*Tracing, error) {
	t := &Tracing{}
	var err error
	if t.Propagator, err = newPropagator(); err != nil {
		return nil, err
	}
	exporter, name, err := newExporter(ctx)
	if err != nil || exporter == nil {
		return t, err
	}
	t.Exporter = name
	sampler, err := newSampler(d)
	if err != nil {
		return nil, err
	}
	t.Sampler = sampler.name
	res, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", d.Service), attribute.String("service.version", d.Version)),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	if t.pipeline, err = newPipeline(exporter); err != nil {
		return nil, err
	}
	limits := sdktrace.NewSpanLimits() // reads the environment
	limits.LinkCountLimit = max(limits.LinkCountLimit, maxLinks)
	t.sdk = sdktrace.NewTracerProvider(
		sdktrace.WithResource(res),
		sdktrace.WithSampler(sampler),
		sdktrace.WithRawSpanLimits(limits),
		sdktrace.WithSpanProcessor(t.pipeline),
	)
	t.Provider = t.sdk
	return t, nil
}

// newPropagator returns the propagator that OTEL_PROPAGATORS names.
func newPropagator() (propagation.TextMapPropagator, error) {
	names := cmp.Or(os.Getenv("OTEL_PROPAGATORS"), "tracecontext,baggage")
	p, err := autoprop.TextMapPropagator(strings.Split(names, ",")...)
	if err != nil {
		return nil, fmt.Errorf("OTEL_PROPAGATORS: %w", err)
	}
	return p, nil
}

// Spans returns the counts of spans so far.
func (t *Tracing) Spans() Spans {
	if t.pipeline == nil {
		return Spans{}
	}
	return t.pipeline.spans()
}

// shutdownTimeout is the max time that Shutdown waits for a collector.
const shutdownTimeout = 3 * time.Second

// Shutdown exports the waiting spans. After 3 seconds, or when ctx ends, it cancels the
// export under way. No goroutine of the exporter remains when Shutdown returns.
func (t *Tracing) Shutdown(ctx context.Context) error {
	if t.sdk == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, t.pipeline.cut)()
	// The SDK would leave its goroutine behind if its own context ended first.
	err := t.sdk.Shutdown(context.WithoutCancel(ctx))
	return cmp.Or(ctx.Err(), err)
}

// End calls Shutdown and logs how many spans were lost, if any.
func (t *Tracing) End(log *slog.Logger) {
	err := t.Shutdown(context.Background())
	if s := t.Spans(); err != nil || s.Failed+s.Dropped+s.Waiting > 0 {
		log.Warn("spans were lost", "exported", s.Exported, "refused_by_collector", s.Failed, "queue_full", s.Dropped,
			"left", s.Waiting, "error", err)
	}
}
