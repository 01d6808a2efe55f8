package sweep

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"paceline/loadgen/target"
)

// sample is the outcome of one request.
type sample struct {
	sent     bool          // false if the pass ended first or the request was dropped
	dropped  bool          // too many conversations were under way when it was due
	intended time.Time     // when it was due; zero if it never was
	held     time.Duration // the part of its lateness spent waiting for other conversations to end
	at       time.Time     // when it was sent
	latency  time.Duration // from at
	answer   target.Answer
	err      error
}

var (
	// errTurnBefore is the error of a turn whose conversation failed earlier.
	errTurnBefore = errors.New("a turn before it failed")
	// errDropped is the error of a conversation that found no room when it was due.
	errDropped = errors.New("dropped: too many were under way")
)

// traffic is what one pass sends, and the outcome.
type traffic struct {
	to      target.Sender
	prompts []target.Prompt
	starts  []int    // the first prompt of each conversation
	samples []sample // one for each prompt; the goroutine that sends a conversation owns its samples
	plan    Plan
	run     *RunProgress
}

func newTraffic(to target.Sender, prompts []target.Prompt, p Plan, run *RunProgress) *traffic {
	return &traffic{to, prompts, conversations(prompts), make([]sample, len(prompts)), p, run}
}

// conversations returns the indices of the prompts that follow no other.
func conversations(prompts []target.Prompt) (starts []int) {
	for i, p := range prompts {
		if i == 0 || !p.Follows {
			starts = append(starts, i)
		}
	}
	return starts
}

// pass sends every prompt once in a closed loop. Each of the plan's callers waits for its answer.
// Then it sends the next turn of its conversation, after the turn's pause, or starts the next
// conversation. A turn that fails ends its conversation, and the turns after it fail unsent. pass
// returns one sample for each prompt and the time from the first send to the last end. When ctx
// ends, prompts that were not sent stay unsent.
func pass(ctx context.Context, to target.Sender, prompts []target.Prompt, p Plan, run *RunProgress) ([]sample, time.Duration) {
	t := newTraffic(to, prompts, p, run)
	var next atomic.Int64
	var running sync.WaitGroup
	start := time.Now()
	for range min(p.Concurrency, len(t.starts)) {
		running.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(t.starts) {
					return
				}
				t.converse(ctx, i, due{intended: time.Now()})
			}
		})
	}
	running.Wait()
	return t.samples, time.Since(start)
}

// due is when a request was due, and how long it has waited for other conversations since.
type due struct {
	intended time.Time
	held     time.Duration
}

// openPass sends every prompt once in an open loop. Conversations begin at the times of the arrival,
// whether or not earlier ones were answered; only later turns wait for their own conversation. seed
// decides the arrivals. openPass returns one sample for each prompt, the end of the warm-up, and the
// time from there to the last end. When ctx ends, prompts that were not sent stay unsent.
func openPass(ctx context.Context, to target.Sender, prompts []target.Prompt, p Plan, seed uint64,
	run *RunProgress) ([]sample, time.Time, time.Duration) {
	t, a := newTraffic(to, prompts, p, run), p.Arrival
	schedule := a.schedule(prompts, t.starts, seed)
	room := make(chan struct{}, min(a.MaxOutstanding, max(1, len(schedule)))) // one element for each conversation under way
	var running sync.WaitGroup
	start := time.Now()
	released := start // when a waiting conversation last got room
	for _, b := range schedule {
		d := due{intended: start.Add(b.after)}
		if !pause(ctx, time.Until(d.intended)) {
			break
		}
		entered, waited := enter(ctx, room, a.WhenFull)
		if waited {
			released = time.Now()
		}
		switch {
		case entered:
			d.held = max(0, released.Sub(d.intended)) // conversations behind a waiting one were held too
			running.Go(func() {
				t.converse(ctx, b.conversation, d)
				<-room
			})
		case ctx.Err() == nil:
			t.drop(b.conversation, d)
		}
	}
	running.Wait()
	measured := start.Add(a.WarmUp)
	return t.samples, measured, max(0, time.Since(measured))
}

// enter takes room for one more conversation. It reports whether it got room and whether it
// had to wait. With Wait it waits until there is room or ctx ends.
func enter(ctx context.Context, room chan struct{}, w WhenFull) (entered, waited bool) {
	select {
	case room <- struct{}{}:
		return true, false
	default:
	}
	if w == Drop {
		return false, false
	}
	select {
	case room <- struct{}{}:
		return true, true
	case <-ctx.Done():
		return false, true
	}
}

// drop marks all turns of a conversation as dropped.
func (t *traffic) drop(conversation int, d due) {
	from, to := t.turns(conversation)
	for k := from; k < to; k++ {
		t.samples[k] = sample{dropped: true, intended: d.intended}
		t.run.ended(0, errDropped)
	}
}

// turns returns the range of prompts of conversation i.
func (t *traffic) turns(i int) (from, to int) {
	if i+1 < len(t.starts) {
		return t.starts[i], t.starts[i+1]
	}
	return t.starts[i], len(t.prompts)
}

// converse sends the turns of conversation i. The first is due at d. Each later turn is due once the
// turn before it was answered and its own pause is over.
func (t *traffic) converse(ctx context.Context, i int, d due) {
	from, to := t.turns(i)
	for k := from; k < to; k++ {
		if k > from {
			last := t.samples[k-1]
			d = due{intended: last.at.Add(last.latency + t.prompts[k].Pause)}
			if !pause(ctx, time.Until(d.intended)) {
				return
			}
		}
		t.send(ctx, k, d)
		if t.samples[k].err == nil {
			continue
		}
		for k++; k < to && ctx.Err() == nil; k++ {
			t.samples[k] = sample{sent: true, at: time.Now(), err: errTurnBefore}
			t.run.ended(0, errTurnBefore)
		}
	}
}

func (t *traffic) send(ctx context.Context, k int, d due) {
	ctx, cancel := context.WithTimeout(ctx, t.plan.Timeout)
	defer cancel()
	t.run.inFlight.Add(1)
	s := sample{sent: true, intended: d.intended, held: d.held, at: time.Now()}
	s.answer, s.err = t.to.Send(ctx, t.prompts[k])
	s.latency = time.Since(s.at)
	t.samples[k] = s
	t.run.inFlight.Add(-1)
	t.run.ended(s.latency, s.err)
}

// pause waits for d. It returns false if ctx ends before.
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
