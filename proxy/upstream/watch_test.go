package upstream

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"paceline/batcher"
)

// An old suspicion made the proxy ask again what is served, and forget what had been cached
// meanwhile.
func TestASuspicionOfBeforeSGLangCameBackIsAnsweredByItsReturn(t *testing.T) {
	var asked atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /server_info", func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"version": "0.5.23", "max_req_input_len": 100}`))
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	cfg := DefaultConfig()
	cfg.URL, cfg.Tokenizer = server.URL, TokenizerNone
	u, err := New(cfg, batcher.DefaultSettings(), nil, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	u.suspect()
	if now := u.check(t.Context(), false); !now.Ready || asked.Load() != 1 || len(u.suspicion) != 0 {
		t.Errorf("asked %d times, %d suspicions left, %+v", asked.Load(), len(u.suspicion), now)
	}
}
