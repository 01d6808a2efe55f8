package upstream

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

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

func TestTheWatchLeavesNoConnectionAtItsEnd(t *testing.T) {
	var open, asked atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	mux.HandleFunc("GET /server_info", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"version": "0.5.23", "max_req_input_len": 100}`))
	})
	server := httptest.NewUnstartedServer(mux)
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	server.Start()
	defer server.Close()
	cfg := DefaultConfig()
	cfg.URL, cfg.Tokenizer = server.URL, TokenizerNone
	u, err := New(cfg, batcher.DefaultSettings(), nil, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range u.Watch(ctx) {
		}
	}()
	await := func(holds func() bool) {
		for range 2000 { // 2 s; an idle connection is closed after 4
			if holds() {
				return
			}
			time.Sleep(time.Millisecond)
		}
		t.Errorf("asked %d times, %d connections are left", asked.Load(), open.Load())
	}
	await(func() bool { return asked.Load() == 1 && u.Snapshot().Ready })
	u.Close()
	u.suspect()
	await(func() bool { return asked.Load() == 2 })
	cancel()
	<-done
	await(func() bool { return open.Load() == 0 })
}
