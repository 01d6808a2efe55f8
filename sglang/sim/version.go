package sim

import (
	"fmt"
	"math"
	"net/http"

	"paceline/sglang"
	"paceline/sglang/sim/dialect"
)

// newest is the version of SGLang that is simulated if no other is asked for.
const newest = "0.5.23"

// release is N of the version 0.5.N of SGLang.
type release int

// What came after 0.5.10, by SGLang's source, with the release that brought it.
const (
	oldest     release = 10
	chatTokens release = 12 // /tokenize takes messages
	totals     release = 17 // /v1/loads sums the prefill work, /server_info has startup_time
	cacheSalts release = 18 // /generate takes cache_salt
	readiness  release = 20 // /ready
	decisions  release = 21 // /v1/decisions, /v1/systemone, and two fields of /v1/score
)

// laterScoreFields came with decisions. Before, SGLang ignores them.
var laterScoreFields = []string{"temperature", "return_token_logprobs"}

// parseRelease reads a version such as 0.5.17. Versions after 0.5 count as the last release.
func parseRelease(version string) (release, error) {
	var major, minor, patch int
	if n, _ := fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch); n < 3 {
		return 0, fmt.Errorf("must be three numbers such as 0.5.17, got %q", version)
	}
	if major > 0 || minor > 5 {
		return math.MaxInt, nil
	}
	if minor < 5 || release(patch) < oldest {
		return 0, fmt.Errorf("must be at least 0.5.%d, got %q", oldest, version)
	}
	return release(patch), nil
}

// hidden returns the paths that the release does not have.
func (r release) hidden() map[string]bool {
	return map[string]bool{"/ready": r < readiness, "/v1/decisions": r < decisions, "/v1/systemone": r < decisions}
}

// scoring is the dialect of a path that scores.
func (r release) scoring(path string) *dialect.Dialect {
	if path == "/v1/score" && r < decisions {
		return dialect.Scoring(path, laterScoreFields...)
	}
	return dialect.Scoring(path)
}

// openAPI answers /openapi.json with the paths whose fields differ between releases. A real
// server lists all.
func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) {
	fields := map[string][]string{
		"/generate": {
			"text", "input_ids", "rid", "sampling_params", "return_logprob", "logprob_start_len", "top_logprobs_num",
			"token_ids_logprob", "lora_path", "positional_embed_overrides", "stream",
		},
		"/v1/score":     {"query", "items", "label_token_ids", "apply_softmax", "item_first", "model"},
		"/v1/tokenize":  {"prompt"},
		"/v1/decisions": {"model", "input", "questions"},
		"/v1/systemone": {"model", "state", "questions"},
		"/ready":        nil,
	}
	add := func(since release, path string, names ...string) {
		if s.release >= since {
			fields[path] = append(fields[path], names...)
		}
	}
	add(cacheSalts, "/generate", "cache_salt")
	add(decisions, "/v1/score", laterScoreFields...)
	add(chatTokens, "/v1/tokenize", "messages")
	paths := map[string]any{}
	for path, names := range fields {
		if s.release.hidden()[path] {
			continue
		}
		properties := map[string]any{}
		for _, name := range names {
			properties[name] = map[string]any{}
		}
		content := map[string]any{"application/json": map[string]any{"schema": map[string]any{"properties": properties}}}
		paths[path] = map[string]any{"post": map[string]any{"requestBody": map[string]any{"content": content}}}
	}
	writeJSON(w, http.StatusOK, map[string]any{"info": map[string]any{"version": s.version}, "paths": paths})
}

// startupTime is nil where the release does not tell it.
func (s *Server) startupTime() *sglang.StartupTime {
	if s.release < totals {
		return nil
	}
	return &sglang.StartupTime{LoadWeight: s.profile.LoadSeconds}
}
