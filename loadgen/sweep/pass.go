package sweep

import (
	"context"
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

// pass sends every prompt once, in a closed loop: as many callers as
// concurrency, each waiting for its answer before it takes the next prompt. It
// returns one sample a prompt and the time from the first send to the last end.
// When ctx ends, prompts not yet sent stay unsent.
func pass(ctx context.Context, to target.Sender, prompts []target.Prompt, concurrency int, timeout time.Duration, ended func(error)) ([]sample, time.Duration) {
	samples := make([]sample, len(prompts))
	var next atomic.Int64
	var callers sync.WaitGroup
	start := time.Now()
	for range min(concurrency, len(prompts)) {
		callers.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(prompts) {
					return
				}
				samples[i] = send(ctx, to, prompts[i], timeout)
				ended(samples[i].err)
			}
		})
	}
	callers.Wait()
	return samples, time.Since(start)
}

func send(ctx context.Context, to target.Sender, p target.Prompt, timeout time.Duration) sample {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	start := time.Now()
	answer, err := to.Send(ctx, p)
	return sample{sent: true, at: start, latency: time.Since(start), answer: answer, err: err}
}
