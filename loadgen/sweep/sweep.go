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

// flushTimeout bounds how long SGLang may take to end what still runs before its cache is
// emptied. A run leaves nothing behind, so it is far more than enough.
const flushTimeout = 30 * time.Second

// Sweep is a plan with all it needs to measure it.
type Sweep struct {
	Plan     Plan
	Prompts  []target.Prompt
	Proxy    *target.Proxy  // for every setting but direct, and for flushing
	Direct   *target.Direct // for direct settings; nil without one
	Counters Counters       // SGLang's own counts
	Progress *Progress
	Log      *slog.Logger
}

// ErrNothingAnswered ends a sweep in which a whole run had no answer: the server is gone or
// refuses this load, and further runs would only say so again.
var ErrNothingAnswered = errors.New("no request of the run was answered")

// Measure implements Runner.
func (s *Sweep) Measure(ctx context.Context, p Pass) (*report.Run, []report.Request, error) {
	if err := s.prepare(ctx, p); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", p, err)
	}
	account := s.Plan.account(ctx, s.Counters)
	at := &RunProgress{Pass: p, Total: len(s.Prompts), Speed: s.Plan.Speed, Started: time.Now()}
	s.Progress.run.Store(at)
	m := measurement{
		setting: p.Setting, phase: p.Phase, repeat: p.Repeat, started: at.Started, prompts: s.Prompts,
		speed: s.Plan.Speed, arrival: s.Plan.Arrival, cause: s.sender(p.Setting).Cause, before: readUsage(),
	}
	inRun := target.InRun(ctx, p.Setting.Name(), string(p.Phase), p.Repeat)
	m.samples, m.from, m.wall = s.Plan.send(inRun, s.sender(p.Setting), s.Prompts, p.Repeat, at)
	m.after, m.interrupted = readUsage(), ctx.Err() != nil
	run, requests := m.report(), m.requests()
	account(ctx, &run)
	s.Log.Info("run measured", "setting", run.Setting, "phase", run.Phase, "repeat", run.Repeat,
		"completed", run.Completed, "total", run.Total, "failed", run.Failed,
		"wall_seconds", run.WallSeconds, "request_throughput", run.RequestThroughput,
		"prompt_tokens", run.PromptTokens, "cached_tokens", run.CachedTokens, "errors", run.Errors)
	switch {
	case ctx.Err() != nil:
		return &run, requests, ctx.Err()
	case run.Completed == 0:
		return &run, requests, fmt.Errorf("%s: %w: %w", p, ErrNothingAnswered, firstError(m.samples))
	}
	return &run, requests, nil
}

// send sends every prompt once, as the plan's Arrival says. All settings of a repeat have
// the same arrivals; each repeat has others, so that the spread of the repeats includes
// theirs. It returns what openPass returns.
func (p Plan) send(ctx context.Context, to target.Sender, prompts []target.Prompt, repeat int,
	run *RunProgress) ([]sample, time.Time, time.Duration) {
	if p.Arrival.Open() {
		return openPass(ctx, to, prompts, p.Arrival, p.arrivalSeed(repeat), p.real(p.Timeout), p.Speed, run)
	}
	start := time.Now()
	samples, wall := pass(ctx, to, prompts, p.Concurrency, p.real(p.Timeout), p.Speed, run)
	return samples, start, wall
}

// prepare puts the pass's setting in force and, for a cold pass, empties the cache: through
// the proxy, or at SGLang itself for a direct setting.
func (s *Sweep) prepare(ctx context.Context, p Pass) error {
	c := p.Setting
	if c.Mode != ModeDirect {
		settings := target.Settings{
			Mode: modes[c.Mode], BatchSize: c.BatchSize, PrefixOrder: c.Mode == ModeAuto || c.Order == Prefix,
			MaxInFlight: max(1, c.MaxInFlight), MaxWait: s.Plan.real(c.MaxWait),
		}
		if c.Mode == ModeAuto {
			settings.BatchForwards = uint32(batcher.DefaultSettings().BatchForwards)
		}
		if err := s.Proxy.Apply(ctx, settings); err != nil {
			return err
		}
	}
	switch {
	case p.Phase != Cold:
		return nil
	case c.Mode == ModeDirect:
		return s.Direct.Flush(ctx, flushTimeout)
	}
	return s.Proxy.Flush(ctx, flushTimeout)
}

// modes are the proxy's names of the modes.
var modes = map[Mode]pb.BatchMode{
	ModeFixed:     pb.BatchMode_BATCH_MODE_FIXED,
	ModeAuto:      pb.BatchMode_BATCH_MODE_AUTO,
	ModeUnbatched: pb.BatchMode_BATCH_MODE_UNBATCHED,
}

// WarmUp sends a few of the prompts once, unmeasured: it makes connections and triggers the
// server's first-call work.
func (s *Sweep) WarmUp(ctx context.Context) error {
	first := s.Plan.Settings[0]
	if err := s.prepare(ctx, Pass{Setting: first, Phase: Cold}); err != nil {
		return err
	}
	samples, _ := pass(ctx, s.sender(first), warmUp(s.Prompts), s.Plan.Concurrency, s.Plan.real(s.Plan.Timeout), s.Plan.Speed, new(RunProgress))
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

// warmUpPrompts is one batch of the largest default size.
const warmUpPrompts = 16

// WarmUpPrompts is how many of the prompts WarmUp sends before the first run.
func WarmUpPrompts(prompts []target.Prompt) int { return len(warmUp(prompts)) }

// warmUp returns the first turns of a few conversations.
func warmUp(prompts []target.Prompt) (few []target.Prompt) {
	starts := conversations(prompts)
	for _, i := range starts[:min(warmUpPrompts, len(starts))] {
		few = append(few, prompts[i])
	}
	return few
}

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
	return errDropped // only the warm-up of the pass was sent
}
