package telemetry

import (
	"context"
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

	"paceline/batcher"
	pb "paceline/proto/paceline/v1"
)

// Metrics are what the metrics page shows. No label has a value that comes from a
// request as it is, so their number is bounded. A nil Metrics records nothing; its
// methods may be called from any goroutine.
type Metrics struct {
	Registry *prometheus.Registry // what the page shows
	traced   bool                 // there are traces to lead to
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
	OutcomeAnswered  = "answered"
	OutcomeRefused   = "refused"
	OutcomeCancelled = "cancelled"
	OutcomeExpired   = "expired"
	OutcomeFailed    = "failed"
)

// NewMetrics returns the metrics of a proxy of that version. With traced, values carry
// the traces that they are from (exemplars).
func NewMetrics(version string, traced bool) *Metrics {
	m := &Metrics{Registry: prometheus.NewRegistry(), traced: traced, began: time.Now()}
	auto := promauto.With(m.Registry)
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
	grpcOnly := prometheus.Labels{LabelSystem: "grpc"}
	prefill := prometheus.Labels{LabelOperation: OperationPrefill, LabelProvider: ProviderSGLang}
	m.rpc = histograms(MetricRPCDuration, "gRPC calls of PrefillService, REST's among them.", secondsBuckets,
		grpcOnly, LabelMethod, LabelStatus)
	m.http = histograms(MetricHTTPDuration, "HTTP requests in SGLang's own form, batched or passed on.", secondsBuckets,
		nil, LabelHTTP, LabelRoute, LabelCode)
	m.requestDuration = histograms(MetricGenAIServerDuration, "Prompts by any way in, from their arrival to their end.", secondsBuckets,
		prefill, LabelModel, LabelError)
	m.callDuration = histograms(MetricGenAIClientDuration, "Calls to SGLang, each with the prompts of a batch or a part of one.", secondsBuckets,
		prefill, LabelModel, LabelError)
	m.tokens = histograms(MetricGenAITokens, "Tokens of a call to SGLang, as it counted them.", tokenBuckets,
		prefill, LabelModel, LabelTokenType)

	m.requests = counters(MetricRequests, "Prompts that ended, by how.", LabelOutcome)
	m.refusals = counters(MetricRefusals, "Prompts that were not tried, and calls without a key, by why.", LabelReason)
	m.merged = counter(MetricMerged, "Requests that were answered by another's prompt, because they asked for the same.")
	m.queueWait = histogram(MetricQueueWait, "From a prompt's acceptance to its batch's release.", secondsBuckets)
	m.batches = counters(MetricBatches, "Batches released, by why.", LabelReason)
	m.size = histogram(MetricBatchSize, "Prompts of a batch.", sizeBuckets)
	m.fill = histogram(MetricBatchFill, "Prompts of a batch per prompt that it could have had.", fillBuckets)
	m.duration = histogram(MetricBatchDuration, "From a batch's release to its end.", secondsBuckets)
	m.ofPrediction = histogram(MetricPredictionError, "Duration of a batch per its predicted duration.", ratioBuckets)
	m.prompt = counter(MetricPromptTokens, "Tokens of the prompts that SGLang answered, as it counted them.")
	m.cached = counter(MetricCachedTokens, "Of these, tokens that it had in its prefix cache.")
	m.splits = counter(MetricSplits, "Batches that were sent again in parts because of a bad prompt.")
	m.retries = counter(MetricRetries, "Calls that were repeated because SGLang failed them.")

	for _, outcome := range []string{OutcomeAnswered, OutcomeRefused, OutcomeCancelled, OutcomeExpired, OutcomeFailed} {
		m.requests.WithLabelValues(outcome) // 0 from the start, so that a rate sees the first
	}
	for _, reason := range refusalReasons {
		m.refusals.WithLabelValues(reason)
	}
	for reason := batcher.ReasonFull; reason < batcher.NumReasons; reason++ {
		m.batches.WithLabelValues(reason.String())
	}
	m.answered = m.requests.WithLabelValues(OutcomeAnswered)
	m.prefillOK = m.rpc.WithLabelValues(prefillMethod, statusOK)
	auto.NewGauge(prometheus.GaugeOpts{
		Name: MetricBuild, Help: "1, with the version of this build.", ConstLabels: prometheus.Labels{LabelVersion: version},
	}).Set(1)
	m.Registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// observe records a value, with the trace it is from where that is sampled.
func (m *Metrics) observe(ctx context.Context, o prometheus.Observer, v float64) {
	if with, ok := o.(prometheus.ExemplarObserver); ok {
		if e := m.exemplar(ctx, o, v); e != nil {
			with.ObserveWithExemplar(v, e)
			return
		}
	}
	o.Observe(v)
}

// count counts one, likewise.
func (m *Metrics) count(ctx context.Context, c prometheus.Counter) {
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
// in ns since Metrics.began; 0: never.
type tookExemplar [64]atomic.Int64

func (t *tookExemplar) of(v float64) *atomic.Int64 {
	_, power := math.Frexp(v)
	return &t[min(max(power+len(t)/2, 0), len(t)-1)]
}

// exemplar is the trace that a series takes beside a value, or nil.
func (m *Metrics) exemplar(ctx context.Context, series any, v float64) prometheus.Labels {
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
func (m *Metrics) of(model string) *modelMetrics {
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

// Call measures a call of gRPC, by its method without the first slash and the name of
// its status.
func (m *Metrics) Call(ctx context.Context, method, status string, began time.Time) {
	switch {
	case m == nil:
	case status == statusOK && method == prefillMethod:
		m.observe(ctx, m.prefillOK, time.Since(began).Seconds())
	default:
		m.observe(ctx, m.rpc.WithLabelValues(method, status), time.Since(began).Seconds())
	}
}

const statusOK = "OK"

var prefillMethod = pb.PrefillService_Prefill_FullMethodName[1:]

// Served measures an HTTP request. route is one of a bounded number.
func (m *Metrics) Served(r *http.Request, route string, code int, began time.Time) {
	if m != nil {
		m.observe(r.Context(), m.http.WithLabelValues(knownMethod(r.Method), route, strconv.Itoa(code)), time.Since(began).Seconds())
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

// End is how a prompt ended.
type End struct {
	Outcome string // an Outcome constant
	Status  string // the name of the status
	Refused string // a Refused constant where it was not tried
}

// Ended counts a prompt that ended.
func (m *Metrics) Ended(ctx context.Context, model string, began time.Time, e End) {
	if m == nil {
		return
	}
	seconds := time.Since(began).Seconds()
	if e.Outcome == OutcomeAnswered {
		m.answered.Inc()
		m.observe(ctx, m.of(model).request, seconds)
		return
	}
	if e.Refused != "" {
		m.count(ctx, m.refusals.WithLabelValues(e.Refused))
	}
	m.count(ctx, m.requests.WithLabelValues(e.Outcome))
	m.observe(ctx, m.requestDuration.WithLabelValues(model, e.Status), seconds)
}

// Refused counts what was refused before it was a prompt.
func (m *Metrics) Refused(ctx context.Context, reason string) {
	if m != nil {
		m.count(ctx, m.refusals.WithLabelValues(reason))
	}
}

// Why a prompt is refused, as labels.
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

var refusalReasons = []string{
	RefusedInvalid, RefusedKey, RefusedQueue, RefusedRate, RefusedBreaker, RefusedDeadline, RefusedNotReady, RefusedDraining,
}

// Released counts a batch at its release: its reason, its prompts, how many it could
// have had, and the requests that needed no prompt of their own.
func (m *Metrics) Released(reason string, size, limit, merged int) {
	if m == nil {
		return
	}
	m.batches.WithLabelValues(reason).Inc()
	m.merged.Add(float64(merged))
	m.size.Observe(float64(size))
	m.fill.Observe(float64(size) / float64(max(1, limit)))
}

// BatchEnded counts a batch at its end. ctx has its trace.
func (m *Metrics) BatchEnded(ctx context.Context, took, predicted time.Duration, promptTokens, cachedTokens int) {
	if m == nil {
		return
	}
	m.observe(ctx, m.duration, took.Seconds())
	if predicted > 0 {
		m.observe(ctx, m.ofPrediction, took.Seconds()/predicted.Seconds())
	}
	m.prompt.Add(float64(promptTokens))
	m.cached.Add(float64(cachedTokens))
}

// Waited records a prompt's time in the queue.
func (m *Metrics) Waited(ctx context.Context, wait time.Duration) {
	if m != nil {
		m.observe(ctx, m.queueWait, wait.Seconds())
	}
}

// Called records one call to SGLang, with the tokens that it answered or the name of
// the status that it failed with.
func (m *Metrics) Called(ctx context.Context, model string, began time.Time, input, output int, failed string) {
	if m == nil {
		return
	}
	seconds := time.Since(began).Seconds()
	if failed != "" {
		m.observe(ctx, m.callDuration.WithLabelValues(model, failed), seconds)
		return
	}
	of := m.of(model)
	m.observe(ctx, of.call, seconds)
	of.input.Observe(float64(input))
	of.output.Observe(float64(output))
}

// Split counts a batch that is sent again in parts.
func (m *Metrics) Split() {
	if m != nil {
		m.splits.Inc()
	}
}

// Retried counts a call that is repeated.
func (m *Metrics) Retried() {
	if m != nil {
		m.retries.Inc()
	}
}
