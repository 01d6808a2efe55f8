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

// Intervals of checks. A check asks /ready, which only reads a flag (sglang 0.5.23), unlike
// /health, which costs a forward and a second.
const (
	firstRetry    = 100 * time.Millisecond // after the first failure, doubled up to awayInterval
	awayInterval  = time.Second            // short, compared with loading a model
	thereInterval = 5 * time.Second        // failing calls report a loss earlier, see suspect
	checkTimeout  = 5 * time.Second        // of one question; a server that can't read a flag in this time is not ready
)

// notAsked is the reason before the first check.
const notAsked = "SGLang has not been asked yet"

// suspect asks for a check now, because a call found SGLang away. It never blocks.
func (u *Upstream) suspect() {
	select {
	case u.suspicion <- struct{}{}:
	default:
	}
}

// nextCheck returns a channel that is closed at the end of the next check.
func (u *Upstream) nextCheck() <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.checked
}

// awaitReturn checks, after a call without an answer, whether SGLang is away. If it is,
// awaitReturn waits until SGLang is back, Config.MaxOutage has passed, or ctx ends.
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

// Watch checks SGLang until ctx ends, and yields the snapshot after each check. It is the
// only periodic work of the proxy: SGLang can't notify the proxy when it starts or stops.
func (u *Upstream) Watch(ctx context.Context) iter.Seq[*Snapshot] {
	return func(yield func(*Snapshot) bool) {
		defer u.client.CloseIdle() // Close may have come before the last check
		suspected := false
		for failures := 0; ; {
			now := u.check(ctx, suspected)
			if ctx.Err() != nil || !yield(now) {
				return
			}
			u.finishCheck()
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

// finishCheck wakes the goroutines that wait for the end of a check.
func (u *Upstream) finishCheck() {
	u.mu.Lock()
	defer u.mu.Unlock()
	close(u.checked)
	u.checked = make(chan struct{})
}

// pause waits for the next check and reports whether suspect asked for it. listen is false
// while SGLang is away, because suspicions say nothing new then.
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

// check asks SGLang once and publishes the result. If SGLang may have been away, check also
// asks what it serves, because that may be another model now. It asks again what was not
// answered the last time. The result has no meaning once ctx has ended.
func (u *Upstream) check(ctx context.Context, suspected bool) *Snapshot {
	before := u.current.Load()
	next := *before
	away := suspected || !before.Ready // it may have been
	if away {
		select {
		case <-u.suspicion: // this check answers it; another check would forget the cache again
		default:
		}
	}
	err := u.ask(ctx, away, &next)
	if ctx.Err() != nil {
		return before
	}
	next.Asked, next.Ready = true, err == nil
	switch {
	case err != nil:
		next.Reason = err.Error()
	case !before.Asked:
		next.Reason = "" // it was never seen not ready
	}
	if next.served() != before.served() {
		next.generation++
	}
	if away && next.Ready {
		u.learnCache(&next.Info)
	}
	u.current.Store(&next)
	u.logChange(before, &next)
	return &next
}

// learnCache tells the queue that SGLang may have restarted, and the size of its cache.
func (u *Upstream) learnCache(info *sglang.ServerInfo) {
	u.Queue.Forget()
	u.Queue.SetServer(batcher.Server{
		CacheTokens: plausible(info.MaxTotalNumTokens), ForwardTokens: plausible(info.ChunkedPrefillSize), // -1 turns chunking off
	})
}

// ask asks whether SGLang is ready and, if it may have been away, what it is. It asks again
// what was not answered, after longer and longer pauses.
func (u *Upstream) ask(ctx context.Context, away bool, s *Snapshot) error {
	asking, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if err := u.client.Ready(asking); err != nil {
		return u.absence(err)
	}
	switch {
	case away:
		info, err := u.client.ServerInfo(asking)
		if err != nil {
			return u.absence(err)
		}
		if info.Version != s.Info.Version || info.ServedModelName != s.Info.ServedModelName || info.ModelPath != s.Info.ModelPath {
			s.Fields, s.Limits, s.tokenizer, s.Embeds = nil, Limits{}, nil, false
		}
		s.Info, s.Model, s.unanswered = info, cmp.Or(info.ServedModelName, info.ModelPath), 0
		s.SharesNothing = sharesNothing(info)
	case s.pause > 0:
		s.pause--
		return nil
	case s.unanswered == 0:
		return nil
	}
	all := true
	for _, learn := range []func(context.Context, *Snapshot) error{u.learnFields, u.learnLimits, u.learnTokenizer, u.learnKind} {
		asking, cancel := context.WithTimeout(ctx, checkTimeout) // of its own: one slow answer hides no other
		all = !unanswered(learn(asking, s)) && all
		cancel()
	}
	if s.pause, s.unanswered = 1<<s.unanswered-1, min(s.unanswered+1, maxUnanswered); all {
		s.pause, s.unanswered = 0, 0
	}
	return nil
}

// sharesNothing returns the option of SGLang under which a prompt may not find what was
// computed for another: replicas that SGLang chooses from have a cache each, those of
// --enable-dp-attention too.
func sharesNothing(info sglang.ServerInfo) string {
	switch {
	case info.DisableRadixCache:
		return "SGLang runs with --disable-radix-cache"
	case info.DPSize > 1:
		return fmt.Sprintf("SGLang runs with --dp-size %d", info.DPSize)
	}
	return ""
}

// maxUnanswered bounds the pause until SGLang is asked again to 2^6 checks, some 5 minutes.
const maxUnanswered = 6

// unanswered reports whether an error says only that SGLang, or a file of its model, can't
// answer now.
func unanswered(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errReading) {
		return true
	}
	var e *sglang.Error
	return errors.As(err, &e) && (e.Kind == sglang.KindUnreachable || e.Kind == sglang.KindBusy || e.Kind == sglang.KindServer)
}

// learnFields finds the names of the fields that SGLang's paths take.
func (u *Upstream) learnFields(ctx context.Context, s *Snapshot) error {
	if s.Fields != nil {
		return nil
	}
	fields, err := u.client.RequestFields(ctx)
	if err == nil {
		s.Fields = &fields
		if names := s.without(); len(names) > 0 {
			u.log.Info("an older SGLang: the proxy does without what it lacks", "sglang", s.Info.Version, "lacks", names)
		}
	}
	return err
}

// learnTokenizer finds out how texts are sent. A tokenizer that was right before stays while
// SGLang does not answer.
func (u *Upstream) learnTokenizer(ctx context.Context, s *Snapshot) error {
	found, why, err := u.tokenizers.choose(ctx, u.client, s.Info)
	if s.tokenizer == nil || !unanswered(err) {
		s.tokenizer, s.Texts = found, why
	}
	if s.Limits.VocabSize == 0 && s.tokenizer != nil {
		s.Limits.VocabSize = s.tokenizer.Size()
	}
	return err
}

// learnKind finds out whether the model generates. It counts as one that does until SGLang
// says that it does not.
func (u *Upstream) learnKind(ctx context.Context, s *Snapshot) error {
	generates, err := u.client.Generates(ctx)
	if !unanswered(err) {
		s.Embeds = err == nil && !generates
	}
	return err
}

// absence returns the reason, for humans, why SGLang does not count as ready.
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

// learnLimits finds the limits of the served model. None is needed to serve text, so a limit
// that can't be found is unknown, and no error. One that was known before stays while SGLang
// does not answer.
func (u *Upstream) learnLimits(ctx context.Context, s *Snapshot) (err error) {
	before, info := s.Limits, s.Info
	// SGLang refuses a prompt of max_req_input_len tokens itself: see contextReserve.
	l := Limits{VocabSize: u.cfg.VocabSize, MaxPromptTokens: plausible(info.MaxReqInputLen - 1)}
	if l.VocabSize == 0 {
		var size int
		if u.tokenizers.reading.Do(checkTimeout, func() { size = sglang.VocabSize(info) }) {
			l.VocabSize = plausible(size)
		} else {
			l.VocabSize, err = before.VocabSize, errReading
		}
	}
	if l.MaxPromptTokens == 0 {
		length, asked := u.contextLimit(ctx)
		l.MaxPromptTokens, err = length, errors.Join(err, asked)
		if pool := plausible(info.MaxTotalNumTokens - contextReserve); pool > 0 && (length == 0 || pool < length) {
			l.MaxPromptTokens = pool
		}
		if unanswered(asked) && before.MaxPromptTokens > 0 {
			l.MaxPromptTokens = before.MaxPromptTokens
		}
	}
	s.Limits = l
	return err
}

// plausible limits a number of SGLang's to 0 to 2^30, so that sums of such numbers can't
// overflow.
func plausible(n int) int { return min(max(0, n), 1<<30) }

// contextReserve is how many tokens of its context, or of its KV cache if that is
// smaller, SGLang keeps for itself. Measured on sglang 0.5.23, for 0, 1 and 2 new tokens:
// with a context of 2,048, max_req_input_len is 2,042, a prompt of 2,041 tokens is accepted
// and one of 2,042 refused; with a KV cache of 1,024 tokens these are 1,018, 1,017 and 1,018.
const contextReserve = 7

// contextLimit returns the max tokens of a prompt by the context length in /v1/models, or 0.
func (u *Upstream) contextLimit(ctx context.Context) (int, error) {
	models, err := u.client.Models(ctx)
	if err != nil || len(models) == 0 {
		return 0, err
	}
	return plausible(models[0].MaxModelLen - contextReserve), nil
}

// logChange logs the first check and each change between ready and not ready.
func (u *Upstream) logChange(before, now *Snapshot) {
	switch {
	case now.Ready && !before.Ready:
		u.log.Info("ready", "model", now.Model, "sglang", now.Info.Version, "upstream", u.URL(),
			"simulated", now.Info.Simulator != nil, "vocab_size", now.Limits.VocabSize,
			"max_prompt_tokens", now.Limits.MaxPromptTokens, "prompts", now.Texts)
		if now.SharesNothing != "" && now.SharesNothing != before.SharesNothing {
			u.log.Warn("no request is held for a prefix that it shares with another: " + now.SharesNothing)
		}
		if now.Info.EnableMIS && !before.Info.EnableMIS {
			u.log.Warn("/v1/score is passed on whole: SGLang runs with --enable-mis")
		}
	case !now.Ready && (before.Ready || !before.Asked):
		u.log.Warn("not ready: " + now.Reason)
	}
}
