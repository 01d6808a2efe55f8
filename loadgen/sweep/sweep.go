package sweep

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"paceline/batcher"
	"paceline/loadgen/report"
	"paceline/loadgen/target"
	pb "paceline/proto/paceline/v1"
)

// flushTimeout is how long SGLang may take to end what still runs before its
// cache is emptied; a run leaves nothing behind, so it is far more than enough.
const flushTimeout = 30 * time.Second

// Sweep is a plan with all it needs to measure it from here.
type Sweep struct {
	Plan     Plan
	Prompts  []target.Prompt
	Proxy    *target.Proxy  // for fixed and unbatched settings, and for flushing
	Direct   *target.Direct // for direct settings; nil without one
	Counters Counters       // SGLang's own account; nil where it can't be reached
	Progress *Progress
	Log      *slog.Logger

	// Steered says that somebody else puts settings in force and flushes: the
	// coordinator of several processes.
	Steered bool
}

// ErrNothingAnswered stops a sweep in which a whole run had no answer: the
// server is gone or refuses this load, and further runs would only say so
// again.
var ErrNothingAnswered = errors.New("no request of the run was answered")

// Measure implements Runner.
func (s *Sweep) Measure(ctx context.Context, p Pass) (*report.Run, []report.Request, error) {
	if !s.Steered {
		if err := Steer(ctx, s.Plan, p, s.Direct, s.Proxy); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", p, err)
		}
	}
	at := &RunProgress{
		Setting: p.Setting, Phase: p.Phase, Repeat: p.Repeat,
		Number: p.Number, Of: p.Of, Total: len(s.Prompts), Speed: s.Plan.Speed,
	}
	account := s.Plan.Account(ctx, s.Counters)
	started := time.Now()
	at.Started = started
	s.Progress.run.Store(at)
	spent := readGenerator()
	samples, from, wall := s.Plan.send(target.InRun(ctx, p.Setting.Name(), string(p.Phase), p.Repeat), watched{s.sender(p.Setting), &at.watch}, s.Prompts, p.Repeat, at.ended)
	m := measurement{
		setting: p.Setting, phase: p.Phase, repeat: p.Repeat,
		started: started, from: from, prompts: s.Prompts, samples: samples, wall: wall, speed: s.Plan.Speed,
		arrival: s.Plan.Arrival, before: spent, after: readGenerator(),
		cause: s.sender(p.Setting).Cause, interrupted: ctx.Err() != nil,
	}
	run, requests := m.report(), m.requests()
	m.histograms(&run)
	account(ctx, &run)
	s.Log.Info("run measured", "setting", run.Setting, "phase", run.Phase, "repeat", run.Repeat,
		"completed", run.Completed, "total", run.Total, "failed", run.Failed,
		"wall_seconds", run.WallSeconds, "request_throughput", run.RequestThroughput,
		"prompt_tokens", run.PromptTokens, "cached_tokens", run.CachedTokens, "errors", run.Errors)
	switch {
	case ctx.Err() != nil:
		return &run, requests, ctx.Err()
	case run.Completed == 0:
		return &run, requests, fmt.Errorf("%s: %w: %w", p, ErrNothingAnswered, firstError(samples))
	}
	return &run, requests, nil
}

// Steer puts a pass's setting in force at each proxy and, for a cold pass, empties the
// cache: through them, or straight at SGLang for direct where that can be reached.
func Steer(ctx context.Context, plan Plan, p Pass, direct *target.Direct, proxies ...*target.Proxy) error {
	c := p.Setting
	for _, proxy := range proxies {
		if c.Mode == ModeDirect {
			break
		}
		s := target.Settings{
			Mode: modes[c.Mode], BatchSize: c.BatchSize, PrefixOrder: c.Mode == ModeAuto || c.Order == Prefix,
			MaxInFlight: max(1, c.MaxInFlight), MaxWait: plan.real(c.MaxWait),
		}
		if c.Mode == ModeAuto {
			s.BatchForwards = uint32(batcher.DefaultSettings().BatchForwards)
		}
		if err := proxy.Apply(ctx, s); err != nil {
			return err
		}
	}
	if p.Phase != Cold {
		return nil
	}
	if c.Mode == ModeDirect && direct != nil {
		return direct.Flush(ctx, flushTimeout)
	}
	for _, proxy := range proxies {
		if err := proxy.Flush(ctx, flushTimeout); err != nil {
			return err
		}
	}
	return nil
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
	if !s.Steered {
		if err := Steer(ctx, s.Plan, Pass{Setting: s.Plan.Settings[0], Phase: Cold}, s.Direct, s.Proxy); err != nil {
			return err
		}
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
