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
	sent     bool          // whether the request was sent at all
	dropped  bool          // it was not, because too many were under way when it was due
	intended time.Time     // when it was due; zero where it never was
	held     time.Duration // of what it was late, how long it waited for others to end
	at       time.Time
	latency  time.Duration // from at
	answer   target.Answer
	err      error
}

// errTurnBefore is how a turn ends whose conversation broke off before it.
var errTurnBefore = errors.New("a turn before it failed")

// traffic is what is sent in one pass, and what became of it.
type traffic struct {
	to      target.Sender
	prompts []target.Prompt
	starts  []int    // the first prompts of the conversations
	samples []sample // one for each prompt; a conversation's are its sender's
	timeout time.Duration
	speed   float64     // seconds of the report per real second
	ended   func(error) // called for each prompt that ended; safe for concurrent use
}

func newTraffic(to target.Sender, prompts []target.Prompt, timeout time.Duration, speed float64, ended func(error)) *traffic {
	return &traffic{to, prompts, conversations(prompts), make([]sample, len(prompts)), timeout, speed, ended}
}

// pass sends every prompt once, in a closed loop: as many callers as concurrency,
// each waiting for its answer before it takes the next conversation, or sends the
// next turn of the one it has once its pause is over. A conversation ends with a turn
// that fails: those after it fail unsent. It returns one sample a prompt and the time
// from the first send to the last end. When ctx ends, prompts not yet sent stay
// unsent.
func pass(ctx context.Context, to target.Sender, prompts []target.Prompt, concurrency int, timeout time.Duration, speed float64, ended func(error)) ([]sample, time.Duration) {
	t := newTraffic(to, prompts, timeout, speed, ended)
	groups := make([]beginning, len(t.starts))
	for i := range groups {
		groups[i].over = make(chan struct{})
	}
	var next atomic.Int64
	var callers sync.WaitGroup
	start := time.Now()
	for range min(concurrency, len(t.starts)) {
		callers.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(t.starts) {
					return
				}
				due, ok := t.dueWith(ctx, groups, i)
				if !ok {
					return
				}
				t.converse(ctx, i, due)
			}
		})
	}
	callers.Wait()
	return t.samples, time.Since(start)
}

// due is when a request was to be sent, and how long it has waited for others since.
type due struct {
	intended time.Time
	held     time.Duration
}

// beginning is when a conversation of a closed loop began.
type beginning struct {
	at   time.Time     // valid once over is closed
	over chan struct{} // closed when it has begun
}

// dueWith waits until conversation i is due: at once, or its stagger after the one that
// it is a copy of. A caller that waits takes no other. It is false once ctx has ended.
func (t *traffic) dueWith(ctx context.Context, all []beginning, i int) (due, bool) {
	d := due{intended: time.Now()}
	if p := t.prompts[t.starts[i]]; i > 0 && p.Joins && p.Stagger > 0 {
		select {
		case <-all[i-1].over: // it was taken before i: its caller has begun it or will
		case <-ctx.Done():
			return d, false
		}
		d.intended = all[i-1].at.Add(t.real(p.Stagger))
		if !pause(ctx, time.Until(d.intended)) {
			return d, false
		}
	}
	all[i].at = d.intended
	close(all[i].over)
	return d, true
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

// turns are where conversation i begins and ends among the prompts.
func (t *traffic) turns(i int) (from, to int) {
	if i+1 < len(t.starts) {
		return t.starts[i], t.starts[i+1]
	}
	return t.starts[i], len(t.prompts)
}

// converse sends the turns of conversation i, whose first is due. Each other is due
// once the one before was answered and its pause is over.
func (t *traffic) converse(ctx context.Context, i int, d due) {
	from, to := t.turns(i)
	for k := from; k < to; k++ {
		if k > from {
			last := t.samples[k-1]
			d = due{intended: last.at.Add(last.latency + t.real(t.prompts[k].Pause))}
			if !pause(ctx, time.Until(d.intended)) {
				return
			}
		}
		t.send(ctx, k, d)
		t.ended(t.samples[k].err)
		if t.samples[k].err == nil {
			continue
		}
		for k++; k < to && ctx.Err() == nil; k++ {
			t.samples[k] = sample{sent: true, at: time.Now(), err: errTurnBefore}
			t.ended(errTurnBefore)
		}
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

func (t *traffic) send(ctx context.Context, k int, d due) {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	start := time.Now()
	answer, err := t.to.Send(ctx, t.prompts[k])
	t.samples[k] = sample{sent: true, intended: d.intended, held: d.held, at: start, latency: time.Since(start), answer: answer, err: err}
}

// real turns a time of the report into one of this machine's clock.
func (t *traffic) real(d time.Duration) time.Duration { return time.Duration(float64(d) / t.speed) }
