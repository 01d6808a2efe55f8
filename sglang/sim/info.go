package sim

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"paceline/sglang"
)

// version is the SGLang whose interface this is.
const version = "0.5.23"

func (s *Server) infoRoutes() {
	for _, path := range []string{"/ready", "/ping"} {
		s.mux.HandleFunc("GET "+path, func(http.ResponseWriter, *http.Request) {})
	}
	for _, path := range []string{"/health", "/health_generate"} {
		s.mux.HandleFunc("GET "+path, s.health)
	}
	for _, path := range []string{"/model_info", "/get_model_info"} {
		s.mux.HandleFunc("GET "+path, s.modelInfo)
	}
	for _, path := range []string{"/server_info", "/get_server_info"} {
		s.mux.HandleFunc("GET "+path, s.serverInfo)
	}
	s.mux.HandleFunc("GET /v1/models", s.models)
	s.mux.HandleFunc("GET /v1/loads", s.loads)
	s.mux.HandleFunc("GET /metrics", s.metrics)
}

// health takes a second, as measured: a real server generates a token and looks
// for it once a second.
func (s *Server) health(_ http.ResponseWriter, r *http.Request) {
	sleepUntil(time.Now().Add(s.clock.real(1)), r.Context().Done())
}

func (s *Server) modelInfo(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, sglang.ModelInfo{
		ModelPath: "simulated", TokenizerPath: "simulated", ServedModelName: s.profile.Model,
		ModelType: "simulated", WeightVersion: "default", IsGeneration: true,
	})
}

func (s *Server) serverInfo(w http.ResponseWriter, _ *http.Request) {
	p := s.profile
	writeJSON(w, http.StatusOK, sglang.ServerInfo{
		Version: version, Status: "ready", ModelPath: "simulated", ServedModelName: p.Model, Device: p.Device,
		Dtype: "bfloat16", SchedulePolicy: "fcfs",
		MaxReqInputLen: p.maxPromptTokens(), MaxTotalNumTokens: p.KVCacheTokens,
		ChunkedPrefillSize: p.ChunkedPrefillSize, MaxPrefillTokens: p.ChunkedPrefillSize, MaxRunningRequests: p.MaxRunningRequests,
		StartupTime: &sglang.StartupTime{LoadWeight: p.LoadSeconds},
		Simulator:   &sglang.SimulatorInfo{Profile: p.Name, Origin: p.Origin, Speed: s.clock.speed, VocabSize: p.VocabSize},
	})
}

func (s *Server) models(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"object": "list",
		"data": []any{map[string]any{
			"id": s.profile.Model, "object": "model", "created": s.started.Unix(), "owned_by": "sglang",
			"root": s.profile.Model, "parent": nil, "max_model_len": s.profile.ContextLength,
		}},
	})
}

func (s *Server) loads(w http.ResponseWriter, _ *http.Request) {
	st, running, waiting := s.scheduler.snapshot()
	writeJSON(w, http.StatusOK, map[string]any{
		"timestamp": time.Now().UTC().Format(time.RFC3339Nano), "version": version, "num_accelerators": 1,
		"loads": []any{map[string]any{
			"dp_rank": 0, "num_running_reqs": running, "num_waiting_reqs": waiting,
			"max_total_num_tokens": s.profile.KVCacheTokens, "max_running_requests": s.profile.MaxRunningRequests,
			"total_prefill_uncached_tokens": st.UncachedTokens, "total_prefill_busy_us": int64(st.BusySeconds * 1e6),
		}},
	})
}

func (s *Server) metrics(w http.ResponseWriter, _ *http.Request) {
	st, running, waiting := s.scheduler.snapshot()
	var b strings.Builder
	for _, m := range []struct {
		name, kind string
		value      int64
	}{
		{"prompt_tokens_total", "counter", st.PromptTokens},
		{"cached_tokens_total", "counter", st.CachedTokens},
		{"num_requests_total", "counter", st.Requests},
		{"num_aborted_requests_total", "counter", st.Aborted},
		{"evicted_tokens_total", "counter", st.EvictedTokens},
		{"num_running_reqs", "gauge", int64(running)},
		{"num_queue_reqs", "gauge", int64(waiting)},
	} {
		fmt.Fprintf(&b, "# TYPE sglang:%s %s\nsglang:%s{model_name=%q} %d\n", m.name, m.kind, m.name, s.profile.Model, m.value)
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = fmt.Fprint(w, b.String())
}
