package telemetry

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"paceline/batcher"
)

// page is what a client gets that accepts OpenMetrics.
func (m *Metrics) page(t *testing.T) string {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// useAll records one of everything.
func (m *Metrics) useAll(ctx context.Context) {
	m.Call(ctx, "a/b", time.Now(), errors.New("x"))
	m.Served(httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil), "/", http.StatusOK, time.Now())
	m.Refused(ctx, RefusedKey)
	m.Ended(ctx, "model", time.Now(), End{Outcome: OutcomeFailed, Status: "INTERNAL"})
	m.Waited(ctx, time.Second)
	m.Released("full", 1, 1, 0, 0)
	m.BatchEnded(ctx, time.Second, time.Second, 2, 1)
	m.Called(ctx, "model", time.Now(), 2, 1, "")
	m.Admitted(ctx, "/generate", &batcher.Grant{Role: batcher.Follower})
	m.Split()
	m.Retried()
}

func TestOnlySampledTracesBecomeExemplars(t *testing.T) {
	context := func(flags trace.TraceFlags) context.Context {
		return trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, TraceFlags: flags,
		}))
	}
	m := NewMetrics("")
	m.useAll(context(0))
	if page := m.page(t); strings.Contains(page, "trace_id") {
		t.Error(page)
	}
	m.useAll(context(trace.FlagsSampled))
	page := m.page(t)
	for _, name := range []string{
		"rpc_server_call_duration_seconds_bucket", "http_server_request_duration_seconds_bucket", "paceline_refusals_total",
		"gen_ai_server_request_duration_seconds_bucket", "paceline_requests_total", "paceline_queue_wait_seconds_bucket",
		"paceline_batch_duration_seconds_bucket", "gen_ai_client_operation_duration_seconds_bucket",
	} {
		found := false
		for line := range strings.Lines(page) {
			found = found || strings.HasPrefix(line, name) && strings.Contains(line, `trace_id="01000000000000000000000000000000"`)
		}
		if !found {
			t.Errorf("%s has no exemplar", name)
		}
	}
}

func TestNoMetricsRecordNothing(t *testing.T) {
	var m *Metrics
	m.useAll(t.Context())
}

func TestTheStateIsReadForEachScrape(t *testing.T) {
	m := NewMetrics("v1")
	var s State
	m.ShowState(func() State { return s })
	s = State{
		Ready: true, Queue: batcher.Stats{Queued: 1, QueuedBytes: 1, ReservedBytes: 1, Held: 5, InFlight: 6},
		Settings: batcher.Settings{QueueRequests: 3, QueueBytes: 4, MaxInFlight: 8, BatchSize: 9},
		Upstream: "http://u", UpstreamReady: true, Spans: &Spans{10, 11, 12, 13},
	}
	page := m.page(t)
	for _, line := range []string{
		`paceline_ready 1`, `paceline_queue_requests 1`, `paceline_queue_bytes 2`, `paceline_queue_limit_requests 3`,
		`paceline_queue_limit_bytes 4`, `paceline_held_prompts 5`, `paceline_in_flight_batches 6`,
		`paceline_in_flight_limit_batches 8`, `paceline_batch_size_limit 9`, `paceline_build_info{version="v1"} 1`,
		`paceline_upstream_ready{upstream="http://u"} 1`, `paceline_upstream_breaker_open{upstream="http://u"} 0`,
		`paceline_trace_spans_total{outcome="exported"} 10`, `paceline_trace_spans_total{outcome="refused"} 11`,
		`paceline_trace_spans_total{outcome="dropped"} 12`, `paceline_trace_spans_waiting 13`,
	} {
		if !strings.Contains(page, line) {
			t.Errorf("%s is not on the page", line)
		}
	}
}
