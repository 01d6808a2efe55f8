package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"paceline/batcher"
)

// State is what the gauges show. It is read for each scrape.
type State struct {
	Ready         bool
	Queue         batcher.Stats
	Settings      batcher.Settings
	Upstream      string // URL of SGLang
	UpstreamReady bool
	Spans         *Spans // nil: nothing is traced
}

// ShowState adds the gauges of State to the page. It may be called once.
func (m *Metrics) ShowState(read func() State) { m.registry.MustRegister(stateCollector{read}) }

// stateCollector is a prometheus.Collector of what read returns.
type stateCollector struct{ read func() State }

// Describe implements prometheus.Collector. It describes nothing, because Collect does.
func (stateCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c stateCollector) Collect(out chan<- prometheus.Metric) {
	s := c.read()
	gauge := func(name, help string, value float64) {
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, nil), prometheus.GaugeValue, value)
	}
	gauge("paceline_ready", "1 while prompts are accepted, 0 while SGLang is away or the proxy drains.", oneIf(s.Ready))
	gauge("paceline_queue_requests", "Prompts waiting.", float64(s.Queue.Queued))
	gauge("paceline_queue_bytes", "Bytes of the prompts waiting, and of requests that are arriving or passed on.",
		float64(s.Queue.QueuedBytes+s.Queue.ReservedBytes))
	gauge("paceline_queue_limit_requests", "Max prompts waiting.", float64(s.Settings.QueueRequests))
	gauge("paceline_queue_limit_bytes", "Max bytes of the prompts waiting.", float64(s.Settings.QueueBytes))
	gauge("paceline_held_prompts", "Prompts waiting for the answer of another, to share its tokens.", float64(s.Queue.Held))
	gauge("paceline_in_flight_batches", "Batches at SGLang.", float64(s.Queue.InFlight))
	gauge("paceline_in_flight_limit_batches", "Max batches at SGLang at once.", float64(s.Settings.MaxInFlight))
	gauge("paceline_batch_size_limit", "Max prompts in a batch.", float64(s.Settings.BatchSize))
	out <- prometheus.MustNewConstMetric(upstreamReady, prometheus.GaugeValue, oneIf(s.UpstreamReady), s.Upstream)
	out <- prometheus.MustNewConstMetric(breakerOpen, prometheus.GaugeValue, oneIf(s.Queue.BreakerOpen), s.Upstream)
	if s.Spans == nil {
		return
	}
	gauge("paceline_trace_spans_waiting", "Spans waiting for the collector.", float64(s.Spans.Waiting))
	for outcome, n := range map[string]uint64{"exported": s.Spans.Exported, "refused": s.Spans.Failed, "dropped": s.Spans.Dropped} {
		out <- prometheus.MustNewConstMetric(spansTotal, prometheus.CounterValue, float64(n), outcome)
	}
}

var (
	upstreamReady = prometheus.NewDesc("paceline_upstream_ready", "1 while SGLang is ready.", []string{"upstream"}, nil)
	breakerOpen   = prometheus.NewDesc("paceline_upstream_breaker_open",
		"1 while nothing is sent to SGLang because it failed every recent call.", []string{"upstream"}, nil)
	spansTotal = prometheus.NewDesc("paceline_trace_spans_total",
		"Spans that ended: exported, refused by the collector, or dropped because too many waited.", []string{"outcome"}, nil)
)

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
