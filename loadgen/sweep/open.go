package sweep

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"paceline/loadgen/target"
)

// errDropped is how a conversation ends for which there was no room when it was due.
var errDropped = errors.New("dropped: too many were under way")

// send sends every prompt once, as the plan's Arrival says. All settings of a repeat
// have the same arrivals, and each repeat others, so that the spread of the repeats
// tells of them too. What it returns is openPass's.
func (p Plan) send(ctx context.Context, to target.Sender, prompts []target.Prompt, repeat int, ended func(error)) ([]sample, time.Time, time.Duration) {
	if p.Arrival.Open() {
		return openPass(ctx, to, prompts, p.Arrival, p.arrivalSeed(repeat), p.real(p.Timeout), p.Speed, ended)
	}
	start := time.Now()
	samples, wall := pass(ctx, to, prompts, p.Concurrency, p.real(p.Timeout), p.Speed, ended)
	return samples, start, wall
}

// ValidateFor names the flag that leaves nothing of these prompts to measure.
func (p Plan) ValidateFor(prompts []target.Prompt) error {
	if len(prompts) == 0 {
		return fmt.Errorf("-shard: has no conversation: there are fewer than shards, see -n")
	}
	if !p.Arrival.Open() || p.Arrival.WarmUp == 0 {
		return nil
	}
	for repeat := range p.Repeats {
		all := p.Arrival.schedule(prompts, conversations(prompts), p.arrivalSeed(repeat+1))
		if last := all[len(all)-1].after; last < p.Arrival.WarmUp {
			return fmt.Errorf("-warm-up: leaves nothing to measure: the last of %d conversations is due after %v", len(all), last.Round(time.Millisecond))
		}
	}
	return nil
}

// arrivalSeed is that of a repeat's arrivals.
func (p Plan) arrivalSeed(repeat int) uint64 { return p.Seed + uint64(repeat)<<32 }

// openPass sends every prompt once, in an open loop: conversations begin when the
// arrival says, and no answer is waited for but by the further turns of its own
// conversation. seed is of the arrivals. It returns one sample a prompt, the moment
// from which times count, which is the end of the warm-up, and the time from that to
// the last end. When ctx ends, prompts not yet sent stay unsent.
func openPass(ctx context.Context, to target.Sender, prompts []target.Prompt, a Arrival, seed uint64, timeout time.Duration, speed float64, ended func(error)) ([]sample, time.Time, time.Duration) {
	t := newTraffic(to, prompts, timeout, speed, ended)
	schedule := a.schedule(prompts, t.starts, seed)
	room := make(chan struct{}, min(a.MostOutstanding, max(1, len(schedule)))) // holds one for each conversation under way
	crew := &crew{jobs: make(chan job), do: func(j job) {
		t.converse(ctx, j.conversation, j.due)
		<-room
	}}
	start := time.Now()
	released := start // when a conversation last got the room that it waited for
	for _, b := range schedule {
		d := due{intended: start.Add(t.real(b.after))}
		if !pause(ctx, time.Until(d.intended)) {
			break
		}
		entered, waited := enter(ctx, room, a.WhenFull)
		if waited {
			released = time.Now()
		}
		switch {
		case entered:
			d.held = max(0, released.Sub(d.intended)) // those behind it were held up, too
			crew.hand(job{b.conversation, d})
		case ctx.Err() == nil:
			t.drop(b.conversation, d)
		}
	}
	crew.dismiss()
	measured := start.Add(t.real(a.WarmUp))
	return t.samples, measured, max(0, time.Since(measured))
}

// enter takes room for one more conversation, and says whether it got it and had to
// wait. Without room it waits only if it is told to, and until ctx ends.
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
		t.ended(errDropped)
	}
}

// job is a conversation that is due.
type job struct {
	conversation int
	due
}

// crew are goroutines that each do one job at a time. There are as many as ever were
// needed at once: a new one costs its stack anew, an old one has it. One goroutine
// hands them jobs.
type crew struct {
	jobs    chan job // not buffered: only who is free takes one
	do      func(job)
	workers sync.WaitGroup
}

// hand has a job begun at once.
func (c *crew) hand(j job) {
	select {
	case c.jobs <- j:
		return
	default:
	}
	c.workers.Go(func() {
		c.do(j)
		for j := range c.jobs {
			c.do(j)
		}
	})
}

// dismiss waits for all jobs to end.
func (c *crew) dismiss() {
	close(c.jobs)
	c.workers.Wait()
}
