package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"go.opentelemetry.io/otel"

	"paceline/loadgen/report"
	"paceline/loadgen/target"
	"paceline/proxy/telemetry"
)

// tracing exports spans: those of the load generator, and those of the proxy in this process,
// which follow the decisions of the former. Both are off where no endpoint is set.
type tracing struct {
	own, ofProxy *telemetry.Tracing
}

// startTracing reads the OTEL_* variables. An error names one.
func startTracing(ctx context.Context, log *slog.Logger) (*tracing, error) {
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces", "error", err) }))
	own, err := telemetry.Start(ctx, telemetry.Defaults{
		Service: "paceline-loadgen", Version: version(), Sampler: "parentbased_traceidratio",
		Ratio: "0.01", // enough to see slow requests, at next to no cost
	})
	if err != nil {
		return nil, err
	}
	ofProxy, err := telemetry.Start(ctx, telemetry.Defaults{Service: "paceline", Version: version()})
	if err != nil {
		return nil, errors.Join(err, own.Shutdown(ctx))
	}
	return &tracing{own, ofProxy}, nil
}

// end exports the spans that wait.
func (t *tracing) end(log *slog.Logger) {
	t.ofProxy.End(log)
	t.own.End(log)
}

// client makes the spans of requests; nil where nothing is traced.
func (t *tracing) client() *target.Tracer { return target.NewTracer(t.own.Provider, t.own.Propagator) }

// forReport is what the report says about tracing; nil where nothing is traced.
func (t *tracing) forReport(jaeger string) *report.Tracing {
	if t.own.Provider == nil {
		return nil
	}
	return &report.Tracing{URL: strings.TrimSuffix(jaeger, "/") + "/trace/", Sampler: t.own.Sampler}
}
