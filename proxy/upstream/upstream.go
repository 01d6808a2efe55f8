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

// Upstream is the one SGLang, with the queue of what waits for it. Make it with New
// and run Watch. Its methods may be called from any goroutine.
type Upstream struct {
	// Queue holds the prompts that wait for SGLang and those that are there. Submit
	// puts them in; settings, drain and statistics are its own.
	Queue *batcher.Batcher[*Prompt, *Answer]

	cfg     Config
	log     *slog.Logger
	client  *sglang.Client
	tracer  *telemetry.Tracer  // nil: no spans
	metrics *telemetry.Metrics // nil: none

	tokenizers tokenizers
	textLength textLength
	mergeKeys  mergeKeys
	receipts   receipts
	recent     recentBatches
	through    http.Handler // for what is passed on
	closeIdle  func()       // closes its idle connections

	current   atomic.Pointer[Snapshot]
	suspicion chan struct{} // buffered, at most one: see suspect

	mu      sync.Mutex
	checked chan struct{} // closed at the end of the next check; guarded by mu

	aborts     sync.WaitGroup // aborts that are not done
	abortSlots chan struct{}  // bounds the aborts at once

	alone sync.Mutex // held while a prompt that SGLang may have died of is sent alone
}

// New returns an SGLang that nobody watches yet: it need not be there. The error is
// a *FieldError or a *batcher.SettingError. tracer and metrics may be nil.
func New(cfg Config, batching batcher.Settings, tracer *telemetry.Tracer, metrics *telemetry.Metrics, log *slog.Logger) (*Upstream, error) {
	u := &Upstream{
		cfg: cfg, log: log, tracer: tracer, metrics: metrics,
		tokenizers: tokenizers{config: cfg.Tokenizer, log: log}, mergeKeys: newMergeKeys(), receipts: newReceipts(),
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
	u.through, u.closeIdle = u.passThrough()
	return u, nil
}

// URL is SGLang's base URL.
func (u *Upstream) URL() string { return u.client.URL() }

// Flush empties SGLang's prefix cache, once the work that runs there has ended or
// timeout is over. An error is an *sglang.Error, of KindBusy if it was still working.
func (u *Upstream) Flush(ctx context.Context, timeout time.Duration) error {
	err := u.client.FlushCache(ctx, timeout)
	if err == nil {
		u.Queue.Forget()
	}
	return err
}

// Pending is how many requests are accepted and not ended.
func (u *Upstream) Pending() int {
	return u.Queue.Pending()
}

// Close ends what is left and returns when nothing runs any more, except Watch,
// whose context ends it.
func (u *Upstream) Close() {
	u.Queue.Close()
	u.aborts.Wait()
	u.client.CloseIdle()
	u.closeIdle()
}
