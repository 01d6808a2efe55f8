package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"paceline/sglang"
)

// How often SGLang is asked whether it is ready. /ready only reads a flag
// (sglang 0.5.23), unlike /health, which costs a forward pass and a second.
const (
	firstRetry    = 100 * time.Millisecond // after the first failure, doubled up to awayInterval
	awayInterval  = time.Second            // a model takes longer to load than anybody notices this
	thereInterval = 5 * time.Second        // failing calls report a loss sooner, see suspect
	checkTimeout  = 5 * time.Second        // of one check: a server that can't read a flag in this time is not ready
)

// notAsked is the reason before the first check.
const notAsked = "SGLang has not been asked yet"

// limits is what a request is validated against. 0 means unknown.
type limits struct {
	vocabSize       int
	maxPromptTokens int
}

// upstreamState is what is known of SGLang at one moment. What it said of
// itself stays when it goes away.
type upstreamState struct {
	asked  bool // false only before the first check
	ready  bool
	reason string // the last reason it was not ready
	info   sglang.ServerInfo
	limits limits

	encoder encoder

	// generation counts the models that were seen: what was prepared for one must not
	// be sent to the next.
	generation int
}

// serves is what makes prompts prepared for one server wrong for another.
type serves struct {
	model, path string
	vocabSize   int
}

func (s *upstreamState) serves() serves {
	return serves{s.info.ServedModelName, s.info.ModelPath, s.limits.vocabSize}
}

// alike says whether a prompt that was prepared for one server is right for
// another.
func (s *upstreamState) alike(o *upstreamState) bool {
	return s.serves() == o.serves() && s.limits == o.limits && s.encoder.ids == o.encoder.ids
}

// model is the name to show for what SGLang serves.
func (s *upstreamState) model() string {
	if s.info.ServedModelName != "" {
		return s.info.ServedModelName
	}
	return s.info.ModelPath
}

// upstream watches one SGLang.
type upstream struct {
	client    *sglang.Client
	vocabSize int // as configured; 0 finds it out
	encoders  *encoders
	log       *slog.Logger
	changed   func(ready bool, reason string)
	found     func(sglang.ServerInfo) // what it is, each time it may be another one than before

	suspicion chan struct{} // buffered, at most one
	current   atomic.Pointer[upstreamState]

	mu      sync.Mutex
	checked chan struct{} // closed at the end of the next check; guarded by mu
}

func newUpstream(
	c *sglang.Client, vocabSize int, e *encoders, log *slog.Logger, changed func(bool, string), found func(sglang.ServerInfo),
) *upstream {
	u := &upstream{
		client: c, vocabSize: vocabSize, encoders: e, log: log, changed: changed, found: found,
		suspicion: make(chan struct{}, 1), checked: make(chan struct{}),
	}
	u.current.Store(&upstreamState{reason: notAsked, limits: limits{vocabSize: vocabSize}})
	return u
}

// state is what is known now; it is never changed afterwards.
func (u *upstream) state() *upstreamState { return u.current.Load() }

// suspect asks for a check now, because a call found SGLang away. It never
// blocks.
func (u *upstream) suspect() {
	select {
	case u.suspicion <- struct{}{}:
	default:
	}
}

// nextCheck is closed at the end of the next check.
func (u *upstream) nextCheck() <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.checked
}

// comeBack is to be called after a call that brought no answer. It finds out
// whether SGLang is away and, if it is, returns once it is back, after the longest
// time, or when ctx ends.
func (u *upstream) comeBack(ctx context.Context, longest time.Duration) (away, back bool) {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	for ; ; away = true {
		next := u.nextCheck()
		u.suspect()
		select {
		case <-next:
		case <-ctx.Done():
			return true, false
		}
		if u.state().ready {
			return away, true
		}
	}
}

// watch checks SGLang until ctx ends. It is the one periodic thing of the proxy:
// SGLang has no way to call when it comes or goes.
func (u *upstream) watch(ctx context.Context) {
	defer u.client.CloseIdle()
	suspected := false
	for failures := 0; ; {
		ready := u.check(ctx, suspected)
		if ctx.Err() != nil {
			return
		}
		wait := thereInterval
		if !ready {
			wait = min(firstRetry<<min(failures, 10), awayInterval)
			failures++
		} else {
			failures = 0
		}
		var err error
		if suspected, err = u.pause(ctx, wait, ready); err != nil {
			return
		}
	}
}

// pause waits for the next check and says whether suspect asked for it. While
// SGLang is away suspicions tell nothing new.
func (u *upstream) pause(ctx context.Context, wait time.Duration, listen bool) (suspected bool, err error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	suspicion := u.suspicion
	if !listen {
		suspicion = nil
	}
	select {
	case <-timer.C:
		return false, nil
	case <-suspicion:
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// check asks SGLang once and publishes what it finds. What SGLang serves is asked
// again where it may have been away since: it may serve another model now.
func (u *upstream) check(ctx context.Context, suspected bool) (ready bool) {
	before := u.state()
	next := *before
	learn := suspected || !before.ready
	if learn {
		select {
		case <-u.suspicion: // answered by this check: another would forget what is cached once more
		default:
		}
	}
	err := u.ask(ctx, learn, &next)
	if ctx.Err() != nil {
		return false
	}
	next.asked, next.ready = true, err == nil
	switch {
	case err != nil:
		next.reason = err.Error()
	case !before.asked:
		next.reason = "" // it never was not ready
	}
	if next.serves() != before.serves() {
		next.generation++
	}
	u.current.Store(&next)
	u.announce(before, &next)
	u.mu.Lock()
	defer u.mu.Unlock()
	close(u.checked)
	u.checked = make(chan struct{})
	return next.ready
}

// ask asks whether SGLang is ready and, with learn, what it is.
func (u *upstream) ask(ctx context.Context, learn bool, s *upstreamState) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if err := u.client.Ready(ctx); err != nil {
		return u.absence(err)
	}
	if !learn {
		return nil
	}
	info, err := u.client.ServerInfo(ctx)
	if err != nil {
		return u.absence(err)
	}
	s.info = info
	s.limits = u.learnLimits(ctx, info)
	s.encoder = u.encoders.choose(ctx, u.client, info)
	if s.limits.vocabSize == 0 && s.encoder.ids != nil {
		s.limits.vocabSize = s.encoder.ids.Size()
	}
	u.found(info)
	return nil
}

// absence says in words of this package why SGLang does not count as ready.
func (u *upstream) absence(err error) error {
	var e *sglang.Error
	switch {
	case !errors.As(err, &e):
		return fmt.Errorf("SGLang at %s does not answer: %w", u.client.URL(), err)
	case e.Kind == sglang.KindUnreachable:
		return fmt.Errorf("SGLang at %s can't be reached: %s", u.client.URL(), e.Message)
	case e.Kind == sglang.KindAuth:
		return fmt.Errorf("SGLang at %s refused the proxy's key", u.client.URL())
	}
	return fmt.Errorf("SGLang at %s is not ready: %w", u.client.URL(), err)
}

// learnLimits finds the limits of what SGLang serves. None of them is needed to
// serve text, so a limit that can't be had is unknown and no error.
func (u *upstream) learnLimits(ctx context.Context, info sglang.ServerInfo) limits {
	l := limits{vocabSize: u.vocabSize, maxPromptTokens: info.MaxReqInputLen}
	if l.vocabSize == 0 {
		l.vocabSize = sglang.VocabSize(info)
	}
	if l.maxPromptTokens == 0 {
		l.maxPromptTokens = u.contextLimit(ctx)
		if pool := info.MaxTotalNumTokens - contextReserve; pool > 0 && (l.maxPromptTokens == 0 || pool < l.maxPromptTokens) {
			l.maxPromptTokens = pool
		}
	}
	return l
}

// contextReserve is how many tokens of its context SGLang keeps for itself:
// 2,042 of 2,048 were accepted (sglang 0.5.23).
const contextReserve = 6

// contextLimit is the prompt limit that follows from the context length in
// /v1/models, or 0.
func (u *upstream) contextLimit(ctx context.Context) int {
	models, err := u.client.Models(ctx)
	if err != nil || len(models) == 0 {
		return 0
	}
	return max(0, models[0].MaxModelLen-contextReserve)
}

// announce tells the log of the first check and of each turn, and then health of
// every check.
func (u *upstream) announce(before, now *upstreamState) {
	defer u.changed(now.ready, now.reason)
	switch {
	case now.ready && !before.ready:
		u.log.Info("ready", "model", now.model(), "sglang", now.info.Version, "upstream", u.client.URL(),
			"simulated", now.info.Simulator != nil, "vocab_size", now.limits.vocabSize,
			"max_prompt_tokens", now.limits.maxPromptTokens, "prompts", now.encoder.why)
	case !now.ready && (before.ready || !before.asked):
		u.log.Warn("not ready: " + now.reason)
	}
}
