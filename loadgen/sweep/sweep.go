package sweep

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"paceline/loadgen/report"
	"paceline/loadgen/target"
	pb "paceline/proto/paceline/v1"
)

// flushTimeout is how long SGLang may take to end what still runs before its
// cache is emptied; a run leaves nothing behind, so it is far more than enough.
const flushTimeout = 30 * time.Second

// Sweep is a plan with all it needs.
type Sweep struct {
	Plan     Plan
	Prompts  []target.Prompt
	Proxy    *target.Proxy  // for fixed and unbatched settings, and for flushing
	Direct   *target.Direct // for direct settings; nil without one
	Counters Counters       // SGLang's own account; nil where it can't be reached
	Progress *Progress
	Log      *slog.Logger

	// Measured is called after each run, in order.
	Measured func(report.Run)

	// Requests, where not nil, is called after each run with all requests that it
	// sent, in the order of the prompts.
	Requests func([]report.Request)
}

// ErrNothingAnswered stops a sweep in which a whole run had no answer: the
// server is gone or refuses this load, and further runs would only say so
// again.
var ErrNothingAnswered = errors.New("no request of the run was answered")

// Run measures every cell of the plan. It returns what it measured, also when
// ctx ends or an error stops it midway; the run that was cut short is then the
// last, and marked.
func (s *Sweep) Run(ctx context.Context) ([]report.Run, error) {
	var runs []report.Run
	cells := s.Plan.order()
	for i, c := range cells {
		for j, phase := range []Phase{Cold, Warm} {
			at := &RunProgress{
				Setting: c.setting, Phase: phase, Repeat: c.repeat,
				Number: 2*i + j + 1, Of: 2 * len(cells), Total: len(s.Prompts), Speed: s.Plan.Speed,
			}
			run, err := s.run(ctx, c, phase, at)
			if run != nil {
				runs = append(runs, *run)
				s.Measured(*run)
			}
			if err != nil {
				return runs, err
			}
		}
	}
	return runs, nil
}

// run measures one pass. Its report.Run is nil when nothing was sent.
func (s *Sweep) run(ctx context.Context, c cell, phase Phase, at *RunProgress) (*report.Run, error) {
	what := fmt.Sprintf("batch setting %s, %s, repeat %d", c.setting.Name(), phase, c.repeat)
	if err := s.prepare(ctx, c.setting, phase); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	before, beforeErr := s.count(ctx)
	started := time.Now()
	at.Started = started
	s.Progress.run.Store(at)
	spent := readGenerator()
	samples, from, wall := s.Plan.send(target.InRun(ctx, c.setting.Name(), string(phase), c.repeat), watched{s.sender(c.setting), &at.watch}, s.Prompts, c.repeat, at.ended)
	own := readGenerator()
	counting, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second) // a server that hangs must not keep the report
	after, afterErr := s.count(counting)
	done()

	m := measurement{
		setting: c.setting, phase: phase, repeat: c.repeat,
		started: started, from: from, prompts: s.Prompts, samples: samples, wall: wall, speed: s.Plan.Speed,
		arrival: s.Plan.Arrival, before: spent, after: own,
		cause: s.sender(c.setting).Cause, interrupted: ctx.Err() != nil,
	}
	if s.Counters != nil && beforeErr == nil && afterErr == nil && s.Plan.Arrival.WarmUp == 0 { // its account doesn't know when a warm-up ended
		m.server = &serverWork{after.UncachedTokens - before.UncachedTokens, after.BusySeconds - before.BusySeconds}
	}
	run := m.report()
	if s.Requests != nil {
		s.Requests(m.requests())
	}
	s.Log.Info("run measured", "setting", run.Setting, "phase", run.Phase, "repeat", run.Repeat,
		"completed", run.Completed, "total", run.Total, "failed", run.Failed,
		"wall_seconds", run.WallSeconds, "request_throughput", run.RequestThroughput,
		"prompt_tokens", run.PromptTokens, "cached_tokens", run.CachedTokens, "errors", run.Errors)
	switch {
	case ctx.Err() != nil:
		return &run, ctx.Err()
	case run.Completed == 0:
		return &run, fmt.Errorf("%s: %w: %w", what, ErrNothingAnswered, firstError(samples))
	}
	return &run, nil
}

// prepare puts the setting in force and, for a cold run, empties the cache.
func (s *Sweep) prepare(ctx context.Context, c Setting, phase Phase) error {
	if c.Mode != ModeDirect {
		err := s.Proxy.Apply(ctx, target.Settings{
			Mode: modes[c.Mode], BatchSize: c.BatchSize, PrefixOrder: c.Mode == ModeAuto,
			MaxInFlight: s.Plan.MaxInFlight, MaxWait: s.Plan.real(s.Plan.MaxWait),
		})
		if err != nil {
			return err
		}
	}
	switch {
	case phase != Cold:
		return nil
	case c.Mode == ModeDirect:
		return s.Direct.Flush(ctx, flushTimeout)
	}
	return s.Proxy.Flush(ctx, flushTimeout)
}

// modes are the proxy's words for ours.
var modes = map[Mode]pb.BatchMode{
	ModeFixed:     pb.BatchMode_BATCH_MODE_FIXED,
	ModeAuto:      pb.BatchMode_BATCH_MODE_AUTO,
	ModeUnbatched: pb.BatchMode_BATCH_MODE_UNBATCHED,
}

// WarmUp sends a few of the prompts once, unmeasured: connections are made and
// the server's first-call work is done.
func (s *Sweep) WarmUp(ctx context.Context) error {
	if err := s.prepare(ctx, s.Plan.Settings[0], Cold); err != nil {
		return err
	}
	few := warmUp(s.Prompts)
	samples, _ := pass(ctx, s.sender(s.Plan.Settings[0]), few, s.Plan.Concurrency, s.Plan.real(s.Plan.Timeout), s.Plan.Speed, func(error) {})
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, one := range samples {
		if one.err == nil {
			return nil
		}
	}
	return fmt.Errorf("warm-up: %w: %w", ErrNothingAnswered, firstError(samples))
}

// warmUp is the first turn of a few conversations.
func warmUp(prompts []target.Prompt) (few []target.Prompt) {
	for _, i := range conversations(prompts) {
		if len(few) == warmUpPrompts {
			break
		}
		few = append(few, prompts[i])
	}
	return few
}

// warmUpPrompts is one batch of the largest default size.
const warmUpPrompts = 16

func (s *Sweep) sender(c Setting) target.Sender {
	if c.Mode == ModeDirect {
		return s.Direct
	}
	return s.Proxy
}

func firstError(samples []sample) error {
	for _, one := range samples {
		if one.err != nil {
			return one.err
		}
	}
	return errDropped // what was sent was of the warm-up
}
