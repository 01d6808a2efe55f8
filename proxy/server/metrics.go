package server

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/status"

	"paceline/batcher"
	pb "paceline/proto/paceline/v1"
	"paceline/proxy/telemetry"
)

// metrics are what the metrics page shows. No label has a value that comes from a
// request as it is, so their number is bounded. A nil metrics records nothing; its
// methods may be called from any goroutine.
type metrics struct {
	registry *prometheus.Registry
	traced   bool // there are traces to lead to
	began    time.Time

	exemplars sync.Map // by series: *tookExemplar

	prefillOK prometheus.Observer // of rpc, found once
	answered  prometheus.Counter  // of requests, likewise

	rpc, http               *prometheus.HistogramVec
	requests, refusals      *prometheus.CounterVec
	queueWait               prometheus.Histogram
	batches                 *prometheus.CounterVec
	size, fill              prometheus.Histogram
	duration, ofPrediction  prometheus.Histogram
	prompt, cached          prometheus.Counter
	merged, splits, retries prometheus.Counter

	requestDuration, callDuration, tokens *prometheus.HistogramVec

	models sync.Map // of string to *modelMetrics
}

// modelMetrics are those of one model, found once.
type modelMetrics struct {
	request       prometheus.Observer // that was answered
	call          prometheus.Observer // that was answered
	input, output prometheus.Observer
}

var (
	// From a cached prompt on a fast device to a queue of minutes.
	secondsBuckets = []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 20, 30, 60, 120, 300}
	sizeBuckets    = prometheus.ExponentialBuckets(1, 2, 13) // to batcher's largest, 4096
	fillBuckets    = prometheus.LinearBuckets(.1, .1, 10)
	ratioBuckets   = []float64{.1, .25, .5, .7, .8, .9, 1, 1.1, 1.25, 1.5, 2, 4, 10}
	tokenBuckets   = prometheus.ExponentialBuckets(1, 4, 14) // as the semantic conventions advise
)

// Ends of a request, as labels.
const (
	outcomeAnswered  = "answered"
	outcomeRefused   = "refused"
	outcomeCancelled = "cancelled"
	outcomeExpired   = "expired"
	outcomeFailed    = "failed"
)

func newMetrics(version string, traced bool) *metrics {
	m := &metrics{registry: prometheus.NewRegistry(), traced: traced, began: time.Now()}
	auto := promauto.With(m.registry)
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return auto.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	}
	histograms := func(name, help string, buckets []float64, always prometheus.Labels, labels ...string) *prometheus.HistogramVec {
		return auto.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets, ConstLabels: always}, labels)
	}
	counter := func(name, help string) prometheus.Counter {
		return auto.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	counters := func(name, help, label string) *prometheus.CounterVec {
		return auto.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	grpcOnly := prometheus.Labels{telemetry.LabelSystem: "grpc"}
	prefill := prometheus.Labels{telemetry.LabelOperation: telemetry.OperationPrefill, telemetry.LabelProvider: telemetry.ProviderSGLang}
	m.rpc = histograms(telemetry.MetricRPCDuration, "gRPC calls of PrefillService, REST's among them.", secondsBuckets,
		grpcOnly, telemetry.LabelMethod, telemetry.LabelStatus)
	m.http = histograms(telemetry.MetricHTTPDuration, "HTTP requests in SGLang's own form, batched or passed on.", secondsBuckets,
		nil, telemetry.LabelHTTP, telemetry.LabelRoute, telemetry.LabelCode)
	m.requestDuration = histograms(telemetry.MetricGenAIServerDuration, "Prompts by any way in, from their arrival to their end.", secondsBuckets,
		prefill, telemetry.LabelModel, telemetry.LabelError)
	m.callDuration = histograms(telemetry.MetricGenAIClientDuration, "Calls to SGLang, each with the prompts of a batch or a part of one.", secondsBuckets,
		prefill, telemetry.LabelModel, telemetry.LabelError)
	m.tokens = histograms(telemetry.MetricGenAITokens, "Tokens of a call to SGLang, as it counted them.", tokenBuckets,
		prefill, telemetry.LabelModel, telemetry.LabelTokenType)

	m.requests = counters(telemetry.MetricRequests, "Prompts that ended, by how.", telemetry.LabelOutcome)
	m.refusals = counters(telemetry.MetricRefusals, "Prompts that were not tried, and calls without a key, by why.", telemetry.LabelReason)
	m.merged = counter(telemetry.MetricMerged, "Requests that were answered by another's prompt, because they asked for the same.")
	m.queueWait = histogram(telemetry.MetricQueueWait, "From a prompt's acceptance to its batch's release.", secondsBuckets)
	m.batches = counters(telemetry.MetricBatches, "Batches released, by why.", telemetry.LabelReason)
	m.size = histogram(telemetry.MetricBatchSize, "Prompts of a batch.", sizeBuckets)
	m.fill = histogram(telemetry.MetricBatchFill, "Prompts of a batch per prompt that it could have had.", fillBuckets)
	m.duration = histogram(telemetry.MetricBatchDuration, "From a batch's release to its end.", secondsBuckets)
	m.ofPrediction = histogram(telemetry.MetricPredictionError, "Duration of a batch per its predicted duration.", ratioBuckets)
	m.prompt = counter(telemetry.MetricPromptTokens, "Tokens of the prompts that SGLang answered, as it counted them.")
	m.cached = counter(telemetry.MetricCachedTokens, "Of these, tokens that it had in its prefix cache.")
	m.splits = counter(telemetry.MetricSplits, "Batches that were sent again in parts because of a bad prompt.")
	m.retries = counter(telemetry.MetricRetries, "Calls that were repeated because SGLang failed them.")

	for _, outcome := range []string{outcomeAnswered, outcomeRefused, outcomeCancelled, outcomeExpired, outcomeFailed} {
		m.requests.WithLabelValues(outcome) // 0 from the start, so that a rate sees the first
	}
	for _, reason := range refusalReasons {
		m.refusals.WithLabelValues(reason)
	}
	for reason := batcher.ReasonFull; reason < batcher.NumReasons; reason++ {
		m.batches.WithLabelValues(reason.String())
	}
	m.answered = m.requests.WithLabelValues(outcomeAnswered)
	m.prefillOK = m.rpc.WithLabelValues(prefillMethod, "OK")
	auto.NewGauge(prometheus.GaugeOpts{
		Name: telemetry.MetricBuild, Help: "1, with the version of this build.", ConstLabels: prometheus.Labels{telemetry.LabelVersion: version},
	}).Set(1)
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// observe records a value, with the trace it is from where that is sampled.
func (m *metrics) observe(ctx context.Context, o prometheus.Observer, v float64) {
	if with, ok := o.(prometheus.ExemplarObserver); ok {
		if e := m.exemplar(ctx, o, v); e != nil {
			with.ObserveWithExemplar(v, e)
			return
		}
	}
	o.Observe(v)
}

// count counts one, likewise.
func (m *metrics) count(ctx context.Context, c prometheus.Counter) {
	if with, ok := c.(prometheus.ExemplarAdder); ok {
		if e := m.exemplar(ctx, c, 1); e != nil {
			with.AddWithExemplar(1, e)
			return
		}
	}
	c.Inc()
}

// exemplarEvery is how long a series keeps an exemplar for values of one magnitude at
// least. It costs as much as ten values without, a page is asked for every few seconds,
// and a value that is seldom so large must find no other's in its way.
const exemplarEvery = time.Second

// tookExemplar is when a series took its last exemplar, by the power of two of the value,
// in ns since metrics.began; 0: never.
type tookExemplar [64]atomic.Int64

func (t *tookExemplar) of(v float64) *atomic.Int64 {
	_, power := math.Frexp(v)
	return &t[min(max(power+len(t)/2, 0), len(t)-1)]
}

// exemplar is the trace that a series takes beside a value, or nil.
func (m *metrics) exemplar(ctx context.Context, series any, v float64) prometheus.Labels {
	if !m.traced {
		return nil // without looking through the context
	}
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsSampled() {
		return nil
	}
	took, known := m.exemplars.Load(series)
	if !known {
		took, _ = m.exemplars.LoadOrStore(series, new(tookExemplar))
	}
	last, now := took.(*tookExemplar).of(v), int64(time.Since(m.began))+1
	if before := last.Load(); before != 0 && now-before < int64(exemplarEvery) || !last.CompareAndSwap(before, now) {
		return nil
	}
	return prometheus.Labels{"trace_id": sc.TraceID().String(), "span_id": sc.SpanID().String()}
}

// of returns the metrics of a model, which are as many as SGLang served.
func (m *metrics) of(model string) *modelMetrics {
	if found, ok := m.models.Load(model); ok {
		return found.(*modelMetrics)
	}
	made := &modelMetrics{
		request: m.requestDuration.WithLabelValues(model, ""),
		call:    m.callDuration.WithLabelValues(model, ""),
		input:   m.tokens.WithLabelValues(model, "input"),
		output:  m.tokens.WithLabelValues(model, "output"),
	}
	found, _ := m.models.LoadOrStore(model, made)
	return found.(*modelMetrics)
}

// call measures a call of gRPC, by its method without the first slash.
func (m *metrics) call(ctx context.Context, method string, began time.Time, err error) {
	switch {
	case m == nil:
	case err == nil && method == prefillMethod:
		m.observe(ctx, m.prefillOK, time.Since(began).Seconds())
	default:
		m.observe(ctx, m.rpc.WithLabelValues(method, statusName(status.Code(err))), time.Since(began).Seconds())
	}
}

var prefillMethod = pb.PrefillService_Prefill_FullMethodName[1:]

// served measures an HTTP request.
func (m *metrics) served(r *http.Request, code int, began time.Time) {
	if m != nil {
		m.observe(r.Context(), m.http.WithLabelValues(knownMethod(r.Method), route(r.URL.Path), strconv.Itoa(code)), time.Since(began).Seconds())
	}
}

// knownMethod is a method as it may stand in a label.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodPatch:
		return method
	}
	return "_OTHER"
}

// ended counts a prompt that ended, by whichever way it came.
func (m *metrics) ended(ctx context.Context, model string, began time.Time, err error) {
	if m == nil {
		return
	}
	seconds := time.Since(began).Seconds()
	if err == nil {
		m.answered.Inc()
		m.observe(ctx, m.of(model).request, seconds)
		return
	}
	st, reason := judged(err)
	outcome := outcomeFailed
	switch {
	case reason != "":
		outcome = outcomeRefused
		m.count(ctx, m.refusals.WithLabelValues(reason))
	case errors.Is(err, context.Canceled):
		outcome = outcomeCancelled
	case errors.Is(err, context.DeadlineExceeded):
		outcome = outcomeExpired
	}
	m.count(ctx, m.requests.WithLabelValues(outcome))
	m.observe(ctx, m.requestDuration.WithLabelValues(model, statusName(st.Code())), seconds)
}

// refused counts what was refused before it was a prompt.
func (m *metrics) refused(ctx context.Context, reason string) {
	if m != nil {
		m.count(ctx, m.refusals.WithLabelValues(reason))
	}
}

// Why a prompt is refused, as labels.
const (
	refusedInvalid  = "invalid"
	refusedKey      = "unauthenticated"
	refusedQueue    = "queue_full"
	refusedRate     = "rate_limited"
	refusedBreaker  = "breaker_open"
	refusedDeadline = "deadline_too_near"
	refusedNotReady = "not_ready"
	refusedDraining = "draining"
)

var refusalReasons = []string{
	refusedInvalid, refusedKey, refusedQueue, refusedRate, refusedBreaker, refusedDeadline, refusedNotReady, refusedDraining,
}

// released counts a batch at its release.
func (m *metrics) released(b *batch) {
	if m == nil {
		return
	}
	m.batches.WithLabelValues(b.Reason().String()).Inc()
	m.merged.Add(float64(b.Merged()))
	m.size.Observe(float64(b.Len()))
	m.fill.Observe(float64(b.Len()) / float64(max(1, b.Limit())))
}

// dispatched counts a batch at its end. ctx has its trace.
func (m *metrics) dispatched(ctx context.Context, f *batchFacts) {
	if m == nil {
		return
	}
	m.observe(ctx, m.duration, f.took.Seconds())
	if f.predicted > 0 {
		m.observe(ctx, m.ofPrediction, f.took.Seconds()/f.predicted.Seconds())
	}
	m.prompt.Add(float64(f.prompt))
	m.cached.Add(float64(f.cached))
}

// waited records a prompt's time in the queue.
func (m *metrics) waited(ctx context.Context, wait time.Duration) {
	if m != nil {
		m.observe(ctx, m.queueWait, wait.Seconds())
	}
}

// called records one call to SGLang and the tokens that it answered.
func (m *metrics) called(ctx context.Context, model string, began time.Time, input, output int, err error) {
	if m == nil {
		return
	}
	seconds := time.Since(began).Seconds()
	if err != nil {
		m.observe(ctx, m.callDuration.WithLabelValues(model, statusName(statusOf(err).Code())), seconds)
		return
	}
	of := m.of(model)
	m.observe(ctx, of.call, seconds)
	of.input.Observe(float64(input))
	of.output.Observe(float64(output))
}

// split and retried count what their names say.
func (m *metrics) split() {
	if m != nil {
		m.splits.Inc()
	}
}

func (m *metrics) retried() {
	if m != nil {
		m.retries.Inc()
	}
}
