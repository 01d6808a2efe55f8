package upstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"paceline/batcher"
	"paceline/sglang"
)

// upstreamOf returns an Upstream of a server, which is closed at the end of the test.
func upstreamOf(t *testing.T, url string) *Upstream {
	t.Helper()
	cfg := DefaultConfig()
	cfg.URL, cfg.Tokenizer = url, TokenizerNone
	u, err := New(cfg, batcher.DefaultSettings(), nil, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u
}

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
	u := upstreamOf(t, server.URL)
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
	u := upstreamOf(t, server.URL)
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

// A server that did not answer once, at its start, was taken for one that has no /tokenize
// and no limits, for as long as it stayed up.
func TestWhatSGLangDidNotAnswerIsAskedAgainUntilItIsKnown(t *testing.T) {
	var asked atomic.Int64
	later := func(body string) http.HandlerFunc { // a moment after it is ready
		return func(w http.ResponseWriter, _ *http.Request) {
			if asked.Add(1) <= 4 { // /v1/models and /openapi.json, twice
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(body))
		}
	}
	infos := 0
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /server_info", func(w http.ResponseWriter, _ *http.Request) {
		infos++
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"version": "0.5.23"}`))
	})
	mux.HandleFunc("GET /v1/models", later(`{"data": [{"max_model_len": 107}]}`))
	mux.HandleFunc("GET /openapi.json", later(`{"paths": {}}`))
	server := httptest.NewServer(mux)
	defer server.Close()
	u := upstreamOf(t, server.URL)
	for i := range 10 {
		now := u.check(t.Context(), false)
		known := now.Limits.MaxPromptTokens == 100 && now.Fields != nil
		if !now.Ready || known != (i >= 3) { // asked at checks 0, 1 and, after a pause, 3
			t.Errorf("check %d: %+v", i, now)
		}
	}
	if n := asked.Load(); n != 6 || infos != 1 {
		t.Errorf("asked %d questions, and %d times what it is", n, infos)
	}
}

// A busy server lost its limits, and what waited was refused as for another model.
func TestWhatIsKnownStaysWhileTheSameSGLangDoesNotAnswer(t *testing.T) {
	var busy atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(http.ResponseWriter, *http.Request) {})
	answer := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if busy.Load() && r.URL.Path != "/server_info" {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(body))
		}
	}
	mux.HandleFunc("GET /server_info", answer(`{"version": "0.5.23"}`))
	mux.HandleFunc("GET /v1/models", answer(`{"data": [{"max_model_len": 107}]}`))
	server := httptest.NewServer(mux)
	defer server.Close()
	u := upstreamOf(t, server.URL)
	first := u.check(t.Context(), true)
	busy.Store(true)
	now := u.check(t.Context(), true)
	if now.Limits != first.Limits || first.Limits.MaxPromptTokens != 100 || now.generation != first.generation {
		t.Errorf("%+v and then %+v", first, now)
	}
}

func TestOnlyWhatMayBeAnsweredLaterIsAskedAgain(t *testing.T) {
	for err, want := range map[error]bool{
		context.DeadlineExceeded:                              true,
		fmt.Errorf("tokenizer.json: %w", errReading):          true,
		&sglang.Error{Kind: sglang.KindUnreachable}:           true,
		&sglang.Error{Kind: sglang.KindBusy, Status: 503}:     true,
		&sglang.Error{Kind: sglang.KindServer, Status: 500}:   true,
		&sglang.Error{Kind: sglang.KindProtocol, Status: 404}: false,
		&sglang.Error{Kind: sglang.KindAuth, Status: 401}:     false,
		errors.New("the tokenizer is not SGLang's"):           false,
	} {
		if unanswered(err) != want {
			t.Errorf("%v: %v", err, !want)
		}
	}
	if unanswered(nil) {
		t.Error("no error")
	}
}
