package upstream

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"paceline/batcher"
	"paceline/proxy/telemetry"
	"paceline/sglang"
)

// Upstream is the one SGLang, with the queue of prompts for it. Make it with New and run
// Watch. Its methods may be called from any goroutine.
type Upstream struct {
	// Queue holds the prompts that wait for SGLang and those in flight. Submit adds
	// them. Settings, drain and statistics are methods of Queue.
	Queue *batcher.Batcher[*Prompt, *Answer]

	// Arrivals counts the requests that the queue does not hold.
	Arrivals *Arrivals

	cfg     Config
	log     *slog.Logger
	client  *sglang.Client
	tracer  *telemetry.Tracer  // nil: no spans
	metrics *telemetry.Metrics // nil: none

	tokenizers tokenizers
	textLength textLength
	process    string // see newProcessID
	recent     recentBatches
	through    http.Handler // for requests that are passed on
	closeIdle  func()       // closes its idle connections

	current   atomic.Pointer[Snapshot]
	suspicion chan struct{} // buffered, at most one: see suspect

	mu      sync.Mutex
	checked chan struct{} // closed at the end of the next check; guarded by mu

	aborts     sync.WaitGroup // aborts under way
	abortSlots chan struct{}  // limits concurrent aborts

	alone sync.Mutex // held while prompts that may have crashed SGLang are sent one by one
}

// New returns an Upstream. SGLang may be away: nothing is sent before Watch runs. The error
// is a *FieldError or a *batcher.SettingError. tracer and metrics may be nil.
func New(cfg Config, batching batcher.Settings, tracer *telemetry.Tracer, metrics *telemetry.Metrics, log *slog.Logger) (*Upstream, error) {
	u := &Upstream{
		cfg: cfg, log: log, tracer: tracer, metrics: metrics,
		tokenizers: tokenizers{config: cfg.Tokenizer, log: log}, process: newProcessID(),
		suspicion: make(chan struct{}, 1), checked: make(chan struct{}), abortSlots: make(chan struct{}, abortsAtOnce),
	}
	u.current.Store(&Snapshot{Reason: notAsked, Limits: Limits{VocabSize: cfg.VocabSize}})
	if err := u.tokenizers.open(); err != nil {
		return nil, &FieldError{"tokenizer", err.Error()}
	}
	var header func(context.Context, http.Header)
	if tracer != nil {
		header = tracer.Inject
	}
	var err error
	if u.client, err = cfg.client(header); err != nil {
		return nil, &FieldError{"upstream", err.Error()}
	}
	if u.Queue, err = batcher.New(sender{u}, batching); err != nil {
		return nil, err
	}
	u.Arrivals = NewArrivals(u.Queue.Reserve)
	u.through, u.closeIdle = u.passThrough()
	return u, nil
}

// URL returns SGLang's base URL.
func (u *Upstream) URL() string { return u.client.URL() }

// Flush empties SGLang's prefix cache, after waiting up to timeout for running work to end.
// An error is an *sglang.Error, with KindBusy if work is still running.
func (u *Upstream) Flush(ctx context.Context, timeout time.Duration) error {
	err := u.client.FlushCache(ctx, timeout)
	if err == nil {
		u.Queue.Forget()
	}
	return err
}

// Close ends all requests and returns when no goroutine is left but that of Watch, which
// ends with its context.
func (u *Upstream) Close() {
	u.Queue.Close()
	u.aborts.Wait()
	u.client.CloseIdle()
	u.closeIdle()
}
