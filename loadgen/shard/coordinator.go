package shard

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"paceline/loadgen/report"
	"paceline/loadgen/sweep"
)

// Coordinator lets the shards of one load begin each pass together. It is a
// sweep.Runner: a pass is measured once each shard has measured its part.
//
// The sweep ends for all as soon as one shard fails, is not heard of for Timeout, has
// other flags or prompts, or is started again midway. Each then learns why.
type Coordinator struct {
	Plan    sweep.Plan
	Shards  int
	Facts   []sweep.Fact
	Timeout time.Duration // after which a shard that was not heard of is lost

	// Steer puts a pass's setting in force and flushes, before the shards begin.
	Steer func(context.Context, sweep.Pass) error
	// Account, where not nil, is called before the shards begin, and what it returns
	// once they have ended, with the joined run.
	Account func(context.Context) func(context.Context, *report.Run)

	mu      sync.Mutex    // guards all below
	changed chan struct{} // closed, and made anew, at each change; made at the first
	members []*member     // by shard; nil: not yet joined
	begun   bool          // a step was given: the members are final
	step    step
	err     error        // why the sweep ended for all
	told    map[int]bool // shards that have heard that it ended
}

// member is a shard as its coordinator knows it.
type member struct {
	joining
	lost   *time.Timer // fails the sweep
	ready  int         // the step after which it asked for the next; -1: for none yet
	result *result     // of the step at work
}

// ErrEnded is wrapped by what a coordinator answers once its sweep has ended for all.
var ErrEnded = errors.New("the sweep has ended for all shards")

// Join waits until all shards are there, and answers what they say of the load.
func (c *Coordinator) Join(ctx context.Context) (report.Source, *report.EnvExec, []sweep.Fact, error) {
	err := c.await(ctx, c.present)
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%s: %w", c.Missing(), err)
		}
		return report.Source{}, nil, nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	first := c.members[0]
	return first.Source, first.EnvExec, first.Prompts, nil
}

// Missing says which shards have not joined.
func (c *Coordinator) Missing() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var missing []string
	for i := range c.Shards {
		if i >= len(c.members) || c.members[i] == nil {
			missing = append(missing, fmt.Sprint(i))
		}
	}
	return fmt.Sprintf("%d of %d shards have joined, missing %s", c.Shards-len(missing), c.Shards, strings.Join(missing, ", "))
}

// WarmUp has each shard send a few of its prompts unmeasured.
func (c *Coordinator) WarmUp(ctx context.Context) error {
	p := sweep.Pass{Setting: c.Plan.Settings[0], Phase: sweep.Cold}
	_, err := c.do(ctx, p, step{Kind: stepWarmUp}, func(context.Context) func(context.Context, *report.Run) { return nil })
	return err
}

// Measure implements sweep.Runner.
func (c *Coordinator) Measure(ctx context.Context, p sweep.Pass) (*report.Run, []report.Request, error) {
	s := step{Kind: stepPass, Phase: p.Phase, Repeat: p.Repeat, Pass: p.Number, Passes: p.Of, Unmeasured: p.Unmeasured, Setting: -1}
	for i, setting := range c.Plan.Settings {
		if setting == p.Setting {
			s.Setting = i
		}
	}
	var told func(context.Context, *report.Run)
	parts, err := c.do(ctx, p, s, func(ctx context.Context) func(context.Context, *report.Run) {
		if c.Account != nil {
			told = c.Account(ctx)
		}
		return told
	})
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", p, err)
	}
	run, requests, err := report.MergeRun(parts, c.Plan.Speed)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", p, err)
	}
	if told != nil {
		told(ctx, &run)
	}
	if run.Completed == 0 {
		return &run, requests, fmt.Errorf("%s: %w", p, sweep.ErrNothingAnswered)
	}
	return &run, requests, nil
}

// do waits until all shards ask what to do, steers, lets them do it, and waits for all
// their results.
func (c *Coordinator) do(ctx context.Context, p sweep.Pass, s step, account func(context.Context) func(context.Context, *report.Run)) ([]report.Part, error) {
	if err := c.await(ctx, c.allReady); err != nil {
		return nil, err
	}
	if err := c.Steer(ctx, p); err != nil {
		return nil, err
	}
	account(ctx)
	c.change(func() {
		c.begun = true
		s.Number = c.step.Number + 1
		c.step = s
		for _, m := range c.members {
			m.result = nil
		}
	})
	if err := c.await(ctx, c.allDone); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var parts []report.Part
	for _, m := range c.members {
		if m.result.Run != nil {
			parts = append(parts, report.Part{Run: *m.result.Run, Requests: m.result.Requests})
		}
	}
	return parts, nil
}

// End tells all shards that the sweep has ended, with err or well, and waits until each
// has heard it, also one that has yet to join: for half of Timeout at most, within which
// a shard that lives speaks.
func (c *Coordinator) End(err error) {
	if err != nil {
		c.fail(err)
	}
	c.change(func() {
		if c.err == nil {
			c.begun = true
			c.step = step{Number: c.step.Number + 1, Kind: stepEnd}
		}
	})
	ctx, done := context.WithTimeout(context.Background(), c.Timeout/2)
	defer done()
	_ = c.until(ctx, func() bool { return len(c.told) == c.Shards }) // one that does not hear it is gone
	c.change(func() {
		for _, m := range c.members {
			if m != nil {
				m.lost.Stop()
			}
		}
	})
}

// fail ends the sweep for all; the first reason counts.
func (c *Coordinator) fail(err error) {
	c.change(func() {
		if c.err == nil && c.step.Kind != stepEnd {
			c.err = fmt.Errorf("%w: %w", ErrEnded, err)
		}
	})
}

// hears notes that a shard knows that the sweep has ended; mu is held.
func (c *Coordinator) hears(shard int) {
	if c.told == nil {
		c.told = map[int]bool{}
	}
	c.told[shard] = true
}

// change changes what mu guards and tells all who wait.
func (c *Coordinator) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// await is until, but ends with the reason once the sweep has ended for all.
func (c *Coordinator) await(ctx context.Context, holds func() bool) error {
	var ended error
	err := c.until(ctx, func() bool {
		ended = c.err
		return ended != nil || holds()
	})
	return errors.Join(err, ended)
}

// until waits until holds, which is called with mu held.
func (c *Coordinator) until(ctx context.Context, holds func() bool) error {
	for {
		c.mu.Lock()
		if holds() {
			c.mu.Unlock()
			return nil
		}
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// all says whether f holds for every member that there may be; mu is held.
func (c *Coordinator) all(f func(*member) bool) bool {
	for _, m := range c.members {
		if !f(m) {
			return false
		}
	}
	return true
}

// present says whether all shards have joined; mu is held.
func (c *Coordinator) present() bool {
	return len(c.members) == c.Shards && c.all(func(m *member) bool { return m != nil })
}

// allReady says whether all wait for the next step; mu is held.
func (c *Coordinator) allReady() bool {
	return c.present() && c.all(func(m *member) bool { return m.ready == c.step.Number })
}

// allDone says whether all have brought the result of this step; mu is held.
func (c *Coordinator) allDone() bool {
	return c.all(func(m *member) bool { return m.result != nil })
}
