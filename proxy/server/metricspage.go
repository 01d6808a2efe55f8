package server

import (
	"net/http"

	"paceline/proxy/telemetry"
)

// state returns the current values of the gauges.
func (s *Server) state() telemetry.State {
	st := telemetry.State{
		Ready: s.readiness.now().ready, Queue: s.up.Queue.Stats(), Settings: s.up.Queue.Settings(),
		Upstream: s.up.URL(), UpstreamReady: s.up.Snapshot().Ready,
	}
	if s.cfg.Spans != nil {
		spans := s.cfg.Spans()
		st.Spans = &spans
	}
	return st
}

// metricsHandler serves the metrics page and health. Probers without a certificate, such as
// Kubernetes', use this port if the data ports ask for one.
func (s *Server) metricsHandler() http.Handler {
	mux := http.NewServeMux()
	handleHealth(mux, s.readiness)
	mux.Handle("GET /metrics", s.metrics.Handler())
	return mux
}
