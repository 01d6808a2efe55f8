package sim

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"paceline/sglang"
	"paceline/sglang/sim/dialect"
)

// health takes a second, as measured: a real server generates a token and checks for it
// once a second.
func (s *Server) health(_ http.ResponseWriter, r *http.Request) {
	second := time.NewTimer(s.clock.real(1))
	defer second.Stop()
	select {
	case <-second.C:
	case <-r.Context().Done():
	case <-s.scheduler.alive():
		panic(http.ErrAbortHandler)
	}
}

func (s *Server) modelInfo(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"model_path": "simulated", "tokenizer_path": "simulated", "served_model_name": s.profile.Model,
		"model_type": "simulated", "weight_version": "default", "is_generation": !s.profile.Embedding,
	})
}

func (s *Server) serverInfo(w http.ResponseWriter, _ *http.Request) {
	p := s.profile
	writeJSON(w, http.StatusOK, sglang.ServerInfo{
		Version: s.version, Status: "ready", ModelPath: "simulated", ServedModelName: p.Model, Device: p.Device,
		Dtype: "bfloat16", SchedulePolicy: "fcfs",
		MaxReqInputLen: p.maxReqInputLen(), MaxTotalNumTokens: p.KVCacheTokens,
		ChunkedPrefillSize: p.ChunkedPrefillSize, MaxPrefillTokens: p.maxPrefillTokens(), MaxRunningRequests: p.MaxRunningRequests,
		TokenizerWorkerNum: max(1, p.Tokenizers),
		StartupTime:        s.startupTime(),
		Simulator:          &sglang.SimulatorInfo{Profile: p.Name, Origin: p.Origin, Speed: s.clock.speed, VocabSize: p.VocabSize},
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

// tokenize answers for texts and, as dialect writes them, for chats.
func (s *Server) tokenize(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Prompt   any             `json:"prompt"`
		Messages json.RawMessage `json:"messages"`
	}
	_ = json.NewDecoder(io.LimitReader(r.Body, maxBody)).Decode(&body) // what it can't read is no prompt
	if text, err := dialect.ChatText(body.Messages); err == nil && present(body.Messages) && s.release >= chatTokens {
		body.Prompt = text
	}
	texts, list, err := stringsOf(body.Prompt, "prompt")
	if err != nil {
		s.refuse(w, err, &call{})
		return
	}
	tokens, counts := make([][]int32, len(texts)), make([]int, len(texts))
	for i, t := range texts {
		tokens[i] = Tokenize(t, s.profile.VocabSize)
		counts[i] = len(tokens[i])
	}
	if list {
		writeJSON(w, http.StatusOK, map[string]any{"tokens": tokens, "count": counts, "max_model_len": s.profile.ContextLength})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"tokens": tokens[0], "count": counts[0], "max_model_len": s.profile.ContextLength})
}

func (s *Server) loads(w http.ResponseWriter, _ *http.Request) {
	st, running, waiting := s.scheduler.snapshot()
	load := map[string]any{
		"dp_rank": 0, "num_running_reqs": running, "num_waiting_reqs": waiting,
		"max_total_num_tokens": s.profile.KVCacheTokens, "max_running_requests": s.profile.MaxRunningRequests,
	}
	if s.release >= totals {
		load["total_prefill_uncached_tokens"], load["total_prefill_busy_us"] = st.UncachedTokens, int64(st.BusySeconds*1e6)
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"timestamp": time.Now().UTC().Format(time.RFC3339Nano), "version": s.version, "num_accelerators": 1, "loads": []any{load},
	})
}

func (s *Server) metrics(w http.ResponseWriter, _ *http.Request) {
	st, running, waiting := s.scheduler.snapshot()
	var b strings.Builder
	for _, m := range []struct {
		name, kind, labels string
		value              int64
	}{
		{"prompt_tokens_total", "counter", "", st.PromptTokens},
		{"cached_tokens_total", "counter", `cache_source="device",`, st.CachedTokens},
		{"num_requests_total", "counter", "", st.Requests},
		{"num_aborted_requests_total", "counter", "", st.Aborted},
		{"evicted_tokens_total", "counter", "", st.EvictedTokens},
		{"num_running_reqs", "gauge", "", int64(running)},
		{"num_queue_reqs", "gauge", "", int64(waiting)},
	} {
		fmt.Fprintf(&b, "# TYPE sglang:%s %s\nsglang:%s{%smodel_name=%q} %d\n", m.name, m.kind, m.name, m.labels, s.profile.Model, m.value)
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = fmt.Fprint(w, b.String())
}

// maxFlushWait bounds ?timeout=, in simulated seconds. Larger values count as none.
const maxFlushWait = 1e6

// flush empties the cache, unless work is still running after ?timeout= simulated seconds.
func (s *Server) flush(w http.ResponseWriter, r *http.Request) {
	timeout, err := strconv.ParseFloat(r.URL.Query().Get("timeout"), 64)
	if err != nil || !(timeout > 0 && timeout < maxFlushWait) { // NaN too
		timeout = 0
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	flushed, err := s.scheduler.flush(time.Now().Add(s.clock.real(timeout)), r.Context().Done())
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if !flushed {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, "Flush cache failed.\n")
		return
	}
	_, _ = io.WriteString(w, "Cache flushed.\nPlease check backend logs for more details. "+
		"(When there are running or waiting requests, the operation will not be performed.)\n")
}

// abort ends every request whose rid begins with the given one. It answers 200 even if
// there is none.
func (s *Server) abort(w http.ResponseWriter, r *http.Request) {
	var body struct {
		RID string `json:"rid"`
		All bool   `json:"abort_all"`
	}
	data, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err == nil && json.Unmarshal(data, &body) == nil && (body.All || body.RID != "") {
		s.scheduler.abort(func(j *job) bool { return body.All || strings.HasPrefix(j.rid, body.RID) })
	}
	w.WriteHeader(http.StatusOK)
}
