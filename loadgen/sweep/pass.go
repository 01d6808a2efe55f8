package sweep

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"paceline/loadgen/target"
)

// sample is the end of one request. Its times are real time.
type sample struct {
	sent    bool // whether the request was sent at all
	at      time.Time
	latency time.Duration
	answer  target.Answer
	err     error
}

// errTurnBefore is how a turn ends whose conversation broke off before it.
var errTurnBefore = errors.New("a turn before it failed")

// pass sends every prompt once, in a closed loop: as many callers as concurrency,
// each waiting for its answer before it takes the next conversation, or sends the
// next turn of the one it has once its pause is over. A conversation ends with a turn
// that fails: those after it fail unsent. It returns one sample a prompt and the time
// from the first send to the last end. When ctx ends, prompts not yet sent stay
// unsent.
func pass(ctx context.Context, to target.Sender, prompts []target.Prompt, concurrency int, timeout time.Duration, speed float64, ended func(error)) ([]sample, time.Duration) {
	samples := make([]sample, len(prompts))
	starts := conversations(prompts)
	var next atomic.Int64
	var callers sync.WaitGroup
	start := time.Now()
	for range min(concurrency, len(starts)) {
		callers.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(starts) {
					return
				}
				end := len(prompts)
				if i+1 < len(starts) {
					end = starts[i+1]
				}
				converse(ctx, to, prompts[starts[i]:end], samples[starts[i]:end], timeout, speed, ended)
			}
		})
	}
	callers.Wait()
	return samples, time.Since(start)
}

// conversations are the indices of the prompts that follow none.
func conversations(prompts []target.Prompt) (starts []int) {
	for i, p := range prompts {
		if i == 0 || !p.Follows {
			starts = append(starts, i)
		}
	}
	return starts
}

// converse sends the turns of one conversation.
func converse(ctx context.Context, to target.Sender, turns []target.Prompt, samples []sample, timeout time.Duration, speed float64, ended func(error)) {
	for i, p := range turns {
		if i > 0 && !pause(ctx, time.Duration(float64(p.Pause)/speed)) {
			return
		}
		samples[i] = send(ctx, to, p, timeout)
		ended(samples[i].err)
		if samples[i].err == nil {
			continue
		}
		for k := i + 1; k < len(turns) && ctx.Err() == nil; k++ {
			samples[k] = sample{sent: true, at: time.Now(), err: errTurnBefore}
			ended(errTurnBefore)
		}
		return
	}
}

// pause says whether ctx lasted so long.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func send(ctx context.Context, to target.Sender, p target.Prompt, timeout time.Duration) sample {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	start := time.Now()
	answer, err := to.Send(ctx, p)
	return sample{sent: true, at: start, latency: time.Since(start), answer: answer, err: err}
}
