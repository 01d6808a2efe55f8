package server

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"paceline/proxy/telemetry"
	"paceline/proxy/upstream"
)

// gauges reads what holds now, when somebody asks for the page.
type gauges struct {
	up        *upstream.Upstream
	readiness *readiness
	spans     func() telemetry.Spans // nil: nothing is traced
}

func gauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	readyGauge            = gauge(telemetry.MetricReady, "1 while prompts are taken, 0 while SGLang is away or the proxy drains.")
	queueRequestsGauge    = gauge(telemetry.MetricQueueRequests, "Prompts waiting.")
	queueBytesGauge       = gauge(telemetry.MetricQueueBytes, "Bytes of the prompts waiting.")
	queueLimitGauge       = gauge(telemetry.MetricQueueLimit, "Most prompts that may wait.")
	queueByteLimitGauge   = gauge(telemetry.MetricQueueByteLimit, "Most bytes of prompts that may wait.")
	heldGauge             = gauge(telemetry.MetricHeld, "Prompts waiting for another's answer, to share its tokens.")
	inFlightGauge         = gauge(telemetry.MetricInFlight, "Batches at SGLang.")
	inFlightLimitGauge    = gauge(telemetry.MetricInFlightLimit, "Most batches at SGLang at once.")
	inFlightRequestsGauge = gauge(telemetry.MetricInFlightRequests, "Prompts in them whose caller still waits.")
	batchSizeLimitGauge   = gauge(telemetry.MetricBatchSizeLimit, "Most prompts of a batch.")
	upstreamReadyGauge    = gauge(telemetry.MetricUpstreamReady, "1 while SGLang is ready.", telemetry.LabelUpstream)
	breakerGauge          = gauge(telemetry.MetricBreakerOpen, "1 while SGLang is left alone because it failed every recent call.", telemetry.LabelUpstream)
	spansCounter          = gauge(telemetry.MetricSpans, "Spans that ended: exported, refused by the collector, or dropped because too many waited.", telemetry.LabelOutcome)
	spansWaitingGauge     = gauge(telemetry.MetricSpansWaiting, "Spans waiting for the collector.")
)

// Describe implements prometheus.Collector.
func (g *gauges) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		readyGauge, queueRequestsGauge, queueBytesGauge, queueLimitGauge, queueByteLimitGauge, heldGauge, inFlightGauge, inFlightLimitGauge,
		inFlightRequestsGauge, batchSizeLimitGauge, upstreamReadyGauge, breakerGauge, spansCounter, spansWaitingGauge,
	} {
		c <- d
	}
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(c chan<- prometheus.Metric) {
	set := func(d *prometheus.Desc, v float64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	stats, settings := g.up.Queue.Stats(), g.up.Queue.Settings()
	size, inFlight := settings.BatchSize, settings.MaxInFlight
	if stats.Plan.BatchSize > 0 {
		size, inFlight = stats.Plan.BatchSize, stats.Plan.MaxInFlight
	}
	set(readyGauge, one(g.readiness.now().ready))
	set(queueRequestsGauge, float64(stats.Queued))
	set(queueBytesGauge, float64(stats.QueuedBytes))
	set(queueLimitGauge, float64(settings.QueueRequests))
	set(queueByteLimitGauge, float64(settings.QueueBytes))
	set(heldGauge, float64(stats.Held))
	set(inFlightGauge, float64(stats.InFlight))
	set(inFlightLimitGauge, float64(inFlight))
	set(inFlightRequestsGauge, float64(stats.InFlightRequests))
	set(batchSizeLimitGauge, float64(size))
	set(upstreamReadyGauge, one(g.up.Snapshot().Ready), g.up.URL())
	set(breakerGauge, one(stats.BreakerOpen), g.up.URL())
	if g.spans == nil {
		return
	}
	s := g.spans()
	for outcome, n := range map[string]uint64{"exported": s.Exported, "refused": s.Failed, "dropped": s.Dropped} {
		c <- prometheus.MustNewConstMetric(spansCounter, prometheus.CounterValue, float64(n), outcome)
	}
	set(spansWaitingGauge, float64(s.Waiting))
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// metricsHandler serves the metrics page, in OpenMetrics with exemplars for whoever
// asks for that, and health beside it: a prober that has no certificate, as
// Kubernetes' has none, finds it here where the data ports ask for one.
func metricsHandler(m *telemetry.Metrics, r *readiness) http.Handler {
	mux := http.NewServeMux()
	handleHealth(mux, r)
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.Registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	return mux
}
