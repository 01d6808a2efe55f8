package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"paceline/batcher"
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

// suspect asks for a check now, because a call found SGLang away. It never
// blocks.
func (u *Upstream) suspect() {
	select {
	case u.suspicion <- struct{}{}:
	default:
	}
}

// nextCheck is closed at the end of the next check.
func (u *Upstream) nextCheck() <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.checked
}

// awaitReturn is called after a call that brought no answer. It finds out whether
// SGLang is away and, if it is, returns once it is back, after Config.MaxOutage, or
// when ctx ends.
func (u *Upstream) awaitReturn(ctx context.Context) (away, back bool) {
	ctx, cancel := context.WithTimeout(ctx, u.cfg.MaxOutage)
	defer cancel()
	for ; ; away = true {
		next := u.nextCheck()
		u.suspect()
		select {
		case <-next:
		case <-ctx.Done():
			return true, false
		}
		if u.current.Load().Ready {
			return away, true
		}
	}
}

// Watch checks SGLang until ctx ends, and yields what is known after each check. It
// is the one periodic thing of the proxy: SGLang has no way to call when it comes or
// goes.
func (u *Upstream) Watch(ctx context.Context) iter.Seq[*Snapshot] {
	return func(yield func(*Snapshot) bool) {
		suspected := false
		for failures := 0; ; {
			now := u.check(ctx, suspected)
			if ctx.Err() != nil || !yield(now) {
				return
			}
			u.endCheck()
			wait := thereInterval
			if !now.Ready {
				wait = min(firstRetry<<min(failures, 10), awayInterval)
				failures++
			} else {
				failures = 0
			}
			var err error
			if suspected, err = u.pause(ctx, wait, now.Ready); err != nil {
				return
			}
		}
	}
}

// endCheck wakes those who wait for the end of a check.
func (u *Upstream) endCheck() {
	u.mu.Lock()
	defer u.mu.Unlock()
	close(u.checked)
	u.checked = make(chan struct{})
}

// pause waits for the next check and says whether suspect asked for it. While
// SGLang is away suspicions tell nothing new.
func (u *Upstream) pause(ctx context.Context, wait time.Duration, listen bool) (suspected bool, err error) {
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
// again where it may have been away since: it may serve another model now. The result
// means nothing once ctx has ended.
func (u *Upstream) check(ctx context.Context, suspected bool) *Snapshot {
	before := u.current.Load()
	next := *before
	learn := suspected || !before.Ready
	if learn {
		select {
		case <-u.suspicion: // answered by this check: another would forget what is cached once more
		default:
		}
	}
	err := u.ask(ctx, learn, &next)
	if ctx.Err() != nil {
		return before
	}
	next.Asked, next.Ready = true, err == nil
	switch {
	case err != nil:
		next.Reason = err.Error()
	case !before.Asked:
		next.Reason = "" // it never was not ready
	}
	if next.served() != before.served() {
		next.generation++
	}
	if learn && next.Ready {
		u.learnCache(&next.Info)
	}
	u.current.Store(&next)
	u.logTurn(before, &next)
	return &next
}

// learnCache tells the queue that SGLang may be another one than before: its cache is
// its own.
func (u *Upstream) learnCache(info *sglang.ServerInfo) {
	u.Queue.Forget()
	u.Queue.SetServer(batcher.Server{
		CacheTokens: max(0, info.MaxTotalNumTokens), ForwardTokens: max(0, info.ChunkedPrefillSize), // -1 turns chunking off
	})
}

// ask asks whether SGLang is ready and, with learn, what it is.
func (u *Upstream) ask(ctx context.Context, learn bool, s *Snapshot) error {
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
	s.Info, s.Model = info, cmp.Or(info.ServedModelName, info.ModelPath)
	s.Limits = u.learnLimits(ctx, info)
	s.encoder = u.tokenizers.choose(ctx, u.client, info)
	s.Texts = s.encoder.why
	if s.Limits.VocabSize == 0 && s.encoder.ids != nil {
		s.Limits.VocabSize = s.encoder.ids.Size()
	}
	return nil
}

// absence says in words of this package why SGLang does not count as ready.
func (u *Upstream) absence(err error) error {
	var e *sglang.Error
	switch {
	case !errors.As(err, &e):
		return fmt.Errorf("SGLang at %s does not answer: %w", u.URL(), err)
	case e.Kind == sglang.KindUnreachable:
		return fmt.Errorf("SGLang at %s can't be reached: %s", u.URL(), e.Message)
	case e.Kind == sglang.KindAuth:
		return fmt.Errorf("SGLang at %s refused the proxy's key", u.URL())
	}
	return fmt.Errorf("SGLang at %s is not ready: %w", u.URL(), err)
}

// learnLimits finds the limits of what SGLang serves. None of them is needed to
// serve text, so a limit that can't be had is unknown and no error.
func (u *Upstream) learnLimits(ctx context.Context, info sglang.ServerInfo) Limits {
	// SGLang refuses a prompt of max_req_input_len tokens itself: see contextReserve.
	l := Limits{VocabSize: u.cfg.VocabSize, MaxPromptTokens: max(0, info.MaxReqInputLen-1)}
	if l.VocabSize == 0 {
		l.VocabSize = sglang.VocabSize(info)
	}
	if l.MaxPromptTokens == 0 {
		l.MaxPromptTokens = u.contextLimit(ctx)
		if pool := info.MaxTotalNumTokens - contextReserve; pool > 0 && (l.MaxPromptTokens == 0 || pool < l.MaxPromptTokens) {
			l.MaxPromptTokens = pool
		}
	}
	return l
}

// contextReserve is how many tokens of its context, or of its KV cache if that is
// smaller, SGLang keeps for itself. Measured on sglang 0.5.23, for 0, 1 and 2 new tokens:
// with a context of 2,048, max_req_input_len is 2,042, a prompt of 2,041 tokens is accepted
// and one of 2,042 refused; with a KV cache of 1,024 tokens these are 1,018, 1,017 and 1,018.
const contextReserve = 7

// contextLimit is the prompt limit that follows from the context length in
// /v1/models, or 0.
func (u *Upstream) contextLimit(ctx context.Context) int {
	models, err := u.client.Models(ctx)
	if err != nil || len(models) == 0 {
		return 0
	}
	return max(0, models[0].MaxModelLen-contextReserve)
}

// logTurn logs the first check and each turn.
func (u *Upstream) logTurn(before, now *Snapshot) {
	switch {
	case now.Ready && !before.Ready:
		u.log.Info("ready", "model", now.Model, "sglang", now.Info.Version, "upstream", u.URL(),
			"simulated", now.Info.Simulator != nil, "vocab_size", now.Limits.VocabSize,
			"max_prompt_tokens", now.Limits.MaxPromptTokens, "prompts", now.Texts)
	case !now.Ready && (before.Ready || !before.Asked):
		u.log.Warn("not ready: " + now.Reason)
	}
}
