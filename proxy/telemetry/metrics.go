package telemetry

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/status"

	"paceline/batcher"
	"paceline/batcher/prefix"
)

// Metrics holds the metrics of the metrics page, except the gauges of State. Their names are
// those of the semantic conventions in Prometheus' spelling, and our own begin with
// paceline_. Times are in seconds. No label is copied from a request, so the number of
// series is bounded.
//
// A nil Metrics records nothing. The methods may be called from any goroutine. Their ctx
// has the trace of the value; a sampled trace becomes the exemplar.
type Metrics struct {
	registry *prometheus.Registry

	rpc, http                                    *prometheus.HistogramVec
	requestDuration, callDuration, tokens        *prometheus.HistogramVec
	requests, refusals, batches                  *prometheus.CounterVec
	queueWait, size, fill, duration, ofPredicted prometheus.Histogram
	promptTokens, cachedTokens                   prometheus.Counter
	held                                         *prometheus.HistogramVec
	shared                                       *prometheus.CounterVec
	merged, splits, retries                      prometheus.Counter
}

var (
	// From a cached prompt on a fast device to a queue of minutes.
	secondsBuckets = []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 20, 30, 60, 120, 300}
	sizeBuckets    = prometheus.ExponentialBuckets(1, 2, 13) // up to batcher.MaxBatchSize, 4096
	fillBuckets    = prometheus.LinearBuckets(.1, .1, 10)
	ratioBuckets   = []float64{.1, .25, .5, .7, .8, .9, 1, 1.1, 1.25, 1.5, 2, 4, 10}
	tokenBuckets   = prometheus.ExponentialBuckets(1, 4, 14) // as the semantic conventions advise
)

// How a prompt ended, as labels.
const (
	OutcomeAnswered  = "answered"
	OutcomeRefused   = "refused" // never sent
	OutcomeCancelled = "cancelled"
	OutcomeExpired   = "expired"
	OutcomeFailed    = "failed"
)

// Reasons of refusals, as labels.
const (
	RefusedInvalid  = "invalid"
	RefusedKey      = "unauthenticated"
	RefusedQueue    = "queue_full"
	RefusedRate     = "rate_limited"
	RefusedBreaker  = "breaker_open"
	RefusedDeadline = "deadline_too_near"
	RefusedNotReady = "not_ready"
	RefusedDraining = "draining"
)

// NewMetrics returns metrics that are all zero. version is that of the build.
func NewMetrics(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	f := factory{promauto.With(m.registry)}
	m.defineConventional(f)
	m.defineOwn(f)
	f.NewGauge(prometheus.GaugeOpts{
		Name: "paceline_build_info", Help: "1, with the version of this build.", ConstLabels: prometheus.Labels{"version": version},
	}).Set(1)
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// factory makes and registers metrics.
type factory struct{ promauto.Factory }

func (f factory) counter(name, help string) prometheus.Counter {
	return f.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

// counters makes a counter for each value of a label. The counters of values exist from the
// start, so that a rate sees their first event.
func (f factory) counters(name, help, label string, values ...string) *prometheus.CounterVec {
	v := f.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	for _, value := range values {
		v.WithLabelValues(value)
	}
	return v
}

func (f factory) histogram(name, help string, buckets []float64) prometheus.Histogram {
	return f.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
}

func (f factory) histograms(
	name, help string, buckets []float64, constant prometheus.Labels, labels ...string,
) *prometheus.HistogramVec {
	return f.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets, ConstLabels: constant}, labels)
}

// defineConventional makes the metrics of the semantic conventions.
func (m *Metrics) defineConventional(f factory) {
	m.rpc = f.histograms("rpc_server_call_duration_seconds",
		"gRPC calls of PrefillService and ScoreService, those behind REST included.",
		secondsBuckets, prometheus.Labels{"rpc_system_name": "grpc"}, "rpc_method", "rpc_response_status_code")
	m.http = f.histograms("http_server_request_duration_seconds",
		"HTTP requests in SGLang's own form, batched or passed on.",
		secondsBuckets, nil, "http_request_method", "http_route", "http_response_status_code")
	prefill := prometheus.Labels{"gen_ai_operation_name": OperationPrefill, "gen_ai_provider_name": ProviderSGLang}
	m.requestDuration = f.histograms("gen_ai_server_request_duration_seconds",
		"Prompts over any interface, from their arrival to their end.",
		secondsBuckets, prefill, "gen_ai_request_model", "error_type")
	m.callDuration = f.histograms("gen_ai_client_operation_duration_seconds",
		"Calls to SGLang, each with the prompts of a batch or of a part of one.",
		secondsBuckets, prefill, "gen_ai_request_model", "error_type")
	m.tokens = f.histograms("gen_ai_client_token_usage",
		"Tokens of a call to SGLang, as SGLang counted them.",
		tokenBuckets, prefill, "gen_ai_request_model", "gen_ai_token_type")
}

// defineOwn makes the metrics that no convention has.
func (m *Metrics) defineOwn(f factory) {
	var reasons []string
	for r := batcher.ReasonFull; r < batcher.NumReasons; r++ {
		reasons = append(reasons, r.String())
	}
	m.requests = f.counters("paceline_requests_total", "Prompts that ended, by outcome.", "outcome",
		OutcomeAnswered, OutcomeRefused, OutcomeCancelled, OutcomeExpired, OutcomeFailed)
	m.refusals = f.counters("paceline_refusals_total", "Prompts that were refused, and calls without a key, by reason.", "reason",
		RefusedInvalid, RefusedKey, RefusedQueue, RefusedRate, RefusedBreaker, RefusedDeadline, RefusedNotReady, RefusedDraining)
	m.merged = f.counter("paceline_merged_requests_total",
		"Requests that were answered by the prompt of another, because they asked for the same thing.")
	m.queueWait = f.histogram("paceline_queue_wait_seconds", "Time from a prompt's acceptance to the release of its batch.", secondsBuckets)
	m.batches = f.counters("paceline_batches_total", "Batches released, by reason.", "reason", reasons...)
	m.size = f.histogram("paceline_batch_size", "Prompts in a batch.", sizeBuckets)
	m.fill = f.histogram("paceline_batch_fill_ratio", "Prompts of a batch, divided by the batch size then in force.", fillBuckets)
	m.duration = f.histogram("paceline_batch_duration_seconds", "Time from the release of a batch to its end.", secondsBuckets)
	m.ofPredicted = f.histogram("paceline_batch_actual_to_predicted_ratio",
		"Duration of a batch, divided by its predicted duration.", ratioBuckets)
	m.promptTokens = f.counter("paceline_prompt_tokens_total", "Tokens of the prompts that SGLang answered, as SGLang counted them.")
	m.cachedTokens = f.counter("paceline_cached_tokens_total", "Prompt tokens that SGLang had in its prefix cache.")
	m.held = f.histograms("paceline_held_seconds", "How long a request that is passed on waited for the prefix that it shares with another.",
		secondsBuckets, nil, "path", "role")
	m.shared = f.NewCounterVec(prometheus.CounterOpts{
		Name: "paceline_shared_tokens_total", Help: "Prompt tokens that followers did not have to compute, because their leader had.",
	}, []string{"path"})
	m.splits = f.counter("paceline_isolation_splits_total", "Batches that were sent again in parts because of a bad prompt.")
	m.retries = f.counter("paceline_retries_total", "Calls that were repeated because SGLang failed them.")
}

// Handler serves the metrics page, in OpenMetrics with exemplars if a client accepts that.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// observe records a value, with the trace of ctx if that is sampled.
func observe(ctx context.Context, o prometheus.Observer, v float64) {
	if sc := trace.SpanContextFromContext(ctx); sc.IsSampled() {
		o.(prometheus.ExemplarObserver).ObserveWithExemplar(v, exemplar(sc))
		return
	}
	o.Observe(v)
}

// count counts one, with the trace of ctx if that is sampled.
func count(ctx context.Context, c prometheus.Counter) {
	if sc := trace.SpanContextFromContext(ctx); sc.IsSampled() {
		c.(prometheus.ExemplarAdder).AddWithExemplar(1, exemplar(sc))
		return
	}
	c.Inc()
}

func exemplar(sc trace.SpanContext) prometheus.Labels {
	return prometheus.Labels{"trace_id": sc.TraceID().String(), "span_id": sc.SpanID().String()}
}

// Call records a gRPC call that has ended. method has no leading slash.
func (m *Metrics) Call(ctx context.Context, method string, began time.Time, err error) {
	if m == nil {
		return
	}
	code := "OK"
	if err != nil {
		code = StatusName(status.Code(err))
	}
	observe(ctx, m.rpc.WithLabelValues(method, code), time.Since(began).Seconds())
}

// Served records an HTTP request that has ended. route is one of a bounded number.
func (m *Metrics) Served(r *http.Request, route string, code int, began time.Time) {
	if m == nil {
		return
	}
	method := r.Method
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodPatch:
	default:
		method = "_OTHER"
	}
	observe(r.Context(), m.http.WithLabelValues(method, route, strconv.Itoa(code)), time.Since(began).Seconds())
}

// Refused counts a refusal before a prompt was made, by one of the Refused reasons.
func (m *Metrics) Refused(ctx context.Context, reason string) {
	if m != nil {
		count(ctx, m.refusals.WithLabelValues(reason))
	}
}

// End is how a prompt ended.
type End struct {
	Outcome string // an Outcome constant
	Status  string // name of the status; empty if it was answered
	Refused string // a Refused constant if it was never sent
}

// Ended records a prompt that has ended, over any interface.
func (m *Metrics) Ended(ctx context.Context, model string, began time.Time, e End) {
	if m == nil {
		return
	}
	if requests := m.requests.WithLabelValues(e.Outcome); e.Outcome == OutcomeAnswered {
		requests.Inc() // without an exemplar: nobody looks for one
	} else {
		count(ctx, requests)
	}
	if e.Refused != "" {
		m.Refused(ctx, e.Refused)
	}
	observe(ctx, m.requestDuration.WithLabelValues(model, e.Status), time.Since(began).Seconds())
}

// Waited records the time from a prompt's acceptance to the release of its batch.
func (m *Metrics) Waited(ctx context.Context, wait time.Duration) {
	if m != nil {
		observe(ctx, m.queueWait, wait.Seconds())
	}
}

// Admitted records a request that is passed on once it was admitted.
func (m *Metrics) Admitted(ctx context.Context, path string, g *batcher.Grant) {
	if m == nil {
		return
	}
	observe(ctx, m.held.WithLabelValues(path, g.Role.String()), g.Held.Seconds())
	if g.Role == batcher.Follower {
		m.shared.WithLabelValues(path).Add(float64(g.Shared * prefix.BlockTokens))
	}
}

// Released records a batch at its release: the reason, its prompts, the batch size then in
// force, the requests that were merged into them, and the tokens that others had had cached
// while they waited.
func (m *Metrics) Released(reason string, prompts, limit, merged, shared int) {
	if m == nil {
		return
	}
	m.batches.WithLabelValues(reason).Inc()
	m.merged.Add(float64(merged))
	m.shared.WithLabelValues("batched").Add(float64(shared))
	m.size.Observe(float64(prompts))
	m.fill.Observe(float64(prompts) / float64(max(1, limit)))
}

// BatchEnded records a batch at its end. predicted is 0 if nothing was predicted.
func (m *Metrics) BatchEnded(ctx context.Context, took, predicted time.Duration, promptTokens, cachedTokens int) {
	if m == nil {
		return
	}
	observe(ctx, m.duration, took.Seconds())
	if predicted > 0 {
		observe(ctx, m.ofPredicted, took.Seconds()/predicted.Seconds())
	}
	m.promptTokens.Add(float64(promptTokens))
	m.cachedTokens.Add(float64(cachedTokens))
}

// Called records one call to SGLang, with the tokens of the prompts that it answered, or
// the name of the status that it failed with.
func (m *Metrics) Called(ctx context.Context, model string, began time.Time, input, output int, failed string) {
	if m == nil {
		return
	}
	observe(ctx, m.callDuration.WithLabelValues(model, failed), time.Since(began).Seconds())
	if failed == "" {
		m.tokens.WithLabelValues(model, "input").Observe(float64(input))
		m.tokens.WithLabelValues(model, "output").Observe(float64(output))
	}
}

// Split counts a batch that is sent again in parts because of a bad prompt.
func (m *Metrics) Split() {
	if m != nil {
		m.splits.Inc()
	}
}

// Retried counts a call that is repeated because SGLang failed it.
func (m *Metrics) Retried() {
	if m != nil {
		m.retries.Inc()
	}
}
