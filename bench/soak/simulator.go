package main

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"paceline/sglang/sim"
)

// newSimulator returns a simulator of a small context and a small cache, so that prompts can
// be too long and prefixes are evicted.
func newSimulator(embeds bool, speed float64) (*sim.Server, error) {
	profile, err := sim.ProfileNamed("h100-qwen2.5-7b")
	if err != nil {
		return nil, err
	}
	profile.Name, profile.Origin = "soak", "an H100 with a small context and cache"
	profile.ContextLength, profile.KVCacheTokens, profile.Embedding = 4096, 65536, embeds
	return sim.New(sim.Options{Profile: profile, Speed: speed})
}

// faulty reports whether SGLang is made to fail at t: for an eighth of each thirtieth of the
// soak, and never when something is restarted.
func (o options) faulty(t time.Time) bool {
	period := o.time / 30
	at := t.Sub(time.Unix(0, o.began)) % period
	return at >= period/4 && at < period*3/8
}

// simulate is a process of SGLang. While it is faulty, half of the calls fail.
func simulate(ctx context.Context, o options) error {
	s, err := newSimulator(o.embeds, 1)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", o.addr) //nolint:noctx // for the life of the process
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost && o.faulty(time.Now()) && rand.IntN(2) == 0 {
				faults[rand.IntN(len(faults))](w, r, s.Handler())
				return
			}
			s.Handler().ServeHTTP(w, r)
		}),
		IdleTimeout: 5 * time.Second, ReadHeaderTimeout: 10 * time.Second, // SGLang's own
	}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return s.Close()
}

// faults are what a faulty SGLang does to a call.
var faults = []func(w http.ResponseWriter, r *http.Request, answer http.Handler){
	func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { fail(w, http.StatusInternalServerError) },
	func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { fail(w, http.StatusServiceUnavailable) },
	func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }, // closes the connection
	func(w http.ResponseWriter, r *http.Request, answer http.Handler) { // closes it in the middle of the answer
		whole := httptest.NewRecorder()
		answer.ServeHTTP(whole, r)
		w.Header().Set("Content-Type", whole.Header().Get("Content-Type"))
		w.WriteHeader(whole.Code)
		_, _ = io.WriteString(w, whole.Body.String()[:whole.Body.Len()/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	},
	func(w http.ResponseWriter, r *http.Request, answer http.Handler) {
		time.Sleep(rand.N(3 * time.Second))
		answer.ServeHTTP(w, r)
	},
}

func fail(w http.ResponseWriter, code int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, `{"error":{"message":"made to fail"}}`)
}

// alone returns the answer that SGLang gives to a request alone.
func (p *pair) alone(path string, body []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(string(body))) //nolint:noctx // answered at once
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	p.oracle.Handler().ServeHTTP(w, r)
	return w
}
