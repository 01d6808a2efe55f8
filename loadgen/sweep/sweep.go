package sweep

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"paceline/batcher"
	"paceline/loadgen/report"
	"paceline/loadgen/stats"
	"paceline/loadgen/target"
	pb "paceline/proto/paceline/v1"
)

// flushTimeout bounds how long SGLang may take to finish running requests before it empties its
// cache. A run leaves no request behind, so this is far more than enough.
const flushTimeout = 30 * time.Second

// Sweep is a plan with all it needs to measure it.
type Sweep struct {
	Plan     Plan
	Prompts  []target.Prompt
	Proxy    *target.Proxy               // for every setting but direct, and for flushing
	Direct   *target.Direct              // for direct settings, and for flushing; nil without one
	Through  target.Sender               // sends all settings but direct ones: Proxy, or HTTP to it
	Straight target.Sender               // sends direct settings: Direct, or HTTP to the same server
	Counters Counters                    // SGLang's own counts
	Cards    Cards                       // where SGLang computes, if it is on this machine
	Virtual  bool                        // in virtual time, which this process's own work does not take
	Progress atomic.Pointer[RunProgress] // the run at work; nil before the first
	Log      *slog.Logger

	// TokenRatio is the median of prompt tokens as counted to those recorded, which WarmUp sets; 0: unknown.
	TokenRatio float64
}

// ErrNothingAnswered ends a sweep after a run without any answer: the server is gone or refuses
// this load, and further runs would show the same.
var ErrNothingAnswered = errors.New("no request of the run was answered")

// Measure implements Runner.
func (s *Sweep) Measure(ctx context.Context, p Pass) (*report.Run, []report.Request, error) {
	return s.measure(ctx, p, s.Plan, s.Prompts)
}

// measure measures a pass of some prompts by a plan that differs from the sweep's in when it sends.
func (s *Sweep) measure(ctx context.Context, p Pass, plan Plan, prompts []target.Prompt) (*report.Run, []report.Request, error) {
	if err := s.prepare(ctx, p); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", p, err)
	}
	account := plan.account(ctx, s.Counters)
	at := &RunProgress{Pass: p, Total: len(prompts), Started: time.Now()}
	s.Progress.Store(at)
	m := measurement{
		setting: p.Setting, phase: p.Phase, repeat: p.Repeat, started: at.Started, prompts: prompts, arrival: plan.Arrival,
	}
	inRun := target.InRun(ctx, p.Setting.Name(), string(p.Phase), p.Repeat)
	var used *usage
	if !s.Virtual {
		used = watch()
	}
	cards := s.Cards.watch(ctx, s.Log)
	m.samples, m.from, m.wall = plan.send(inRun, s.sender(p.Setting), prompts, p.Repeat, at)
	m.cpuSeconds, m.wait = used.since()
	m.interrupted = ctx.Err() != nil
	run, requests := m.report(), m.requests()
	run.Cards = cards()
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

// send sends every prompt once, at the times of the plan's Arrival. All settings of a repeat have
// the same arrivals. Each repeat has others, so that the spread of the repeats includes them.
// send returns the results of openPass.
func (p Plan) send(ctx context.Context, to target.Sender, prompts []target.Prompt, repeat int,
	run *RunProgress) ([]sample, time.Time, time.Duration) {
	if p.Arrival.Open() {
		return openPass(ctx, to, prompts, p, p.arrivalSeed(repeat), run)
	}
	start := time.Now()
	samples, wall := pass(ctx, to, prompts, p, run)
	return samples, start, wall
}

// prepare applies the pass's setting and, for a cold pass, empties the cache: through the proxy, or
// at SGLang itself for a direct setting.
func (s *Sweep) prepare(ctx context.Context, p Pass) error {
	c := p.Setting
	if c.Mode != ModeDirect {
		settings := target.Settings{
			Mode: pb.BatchMode_BATCH_MODE_FIXED, BatchSize: c.BatchSize, Share: pb.Share_SHARE_OFF,
			MaxInFlight: max(1, c.MaxInFlight), MaxWait: c.MaxWait,
		}
		if c.Order == Prefix {
			settings.Share = pb.Share_SHARE_ALL
		}
		switch c.Mode {
		case ModeUnbatched:
			settings.Mode = pb.BatchMode_BATCH_MODE_UNBATCHED
		case ModeDefaults:
			d := batcher.DefaultSettings()
			settings = target.Settings{
				Mode: pb.BatchMode_BATCH_MODE_FIXED, BatchSize: d.BatchSize, Share: pb.Share_SHARE_ALL,
				MaxInFlight: d.MaxInFlight, MaxWait: d.MaxWait, ForwardsInFlight: uint32(d.ForwardsInFlight),
			}
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

// WarmUp sends a few of the prompts once, unmeasured, to open connections and to trigger the
// server's first-call work.
func (s *Sweep) WarmUp(ctx context.Context) error {
	first := s.Plan.Settings[0]
	if err := s.prepare(ctx, Pass{Setting: first, Phase: Cold}); err != nil {
		return err
	}
	prompts := warmUp(s.Prompts)
	samples, _ := pass(ctx, s.sender(first), prompts, s.Plan, new(RunProgress))
	var ratios []float64
	for i, p := range prompts {
		if samples[i].sent && samples[i].err == nil && p.Recorded > 0 {
			ratios = append(ratios, float64(samples[i].answer.PromptTokens)/float64(p.Recorded))
		}
	}
	s.TokenRatio = stats.Median(ratios)
	if err := ctx.Err(); err != nil {
		return err
	}
	if slices.ContainsFunc(samples, func(s sample) bool { return s.err == nil }) {
		return nil
	}
	return fmt.Errorf("warm-up: %w: %w", ErrNothingAnswered, firstError(samples))
}

// warmUpPrompts is one batch of the largest default size.
const warmUpPrompts = 16

// WarmUpPrompts returns how many of the prompts WarmUp sends.
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
		return s.Straight
	}
	return s.Through
}

func firstError(samples []sample) error {
	for _, one := range samples {
		if one.err != nil {
			return one.err
		}
	}
	return errDropped // all prompts after the warm-up were dropped
}

// Pass is one pass of a plan over all prompts.
type Pass struct {
	Setting Setting
	Phase   Phase
	Repeat  int // from 1
	Number  int // in the sweep, from 1
	Of      int // passes in the sweep, at most
}

func (p Pass) String() string {
	return fmt.Sprintf("batch setting %s, %s, repeat %d", p.Setting.Name(), p.Phase, p.Repeat)
}

// Runner measures a pass.
type Runner interface {
	// Measure applies the pass's setting, empties the cache for a cold pass, and sends all
	// prompts. The run is nil if nothing was sent, and marked as interrupted if the pass was
	// cut short. The requests are those that were sent or dropped.
	Measure(ctx context.Context, p Pass) (*report.Run, []report.Request, error)
}

// Schedule runs a plan.
type Schedule struct {
	Plan   Plan
	Runner Runner

	// Kept are the runs of an earlier sweep of the same plan. Their whole cells are not measured
	// again; see WholeCells.
	Kept []report.Run

	// Measured is called after each pass, in order. Its error ends the sweep: there is no point in
	// measuring runs that can't be stored.
	Measured func(report.Run, []report.Request) error
}

// moreTries is how often a disturbed cell is measured again. A machine that is busy for longer has no
// conclusion to offer.
const moreTries = 2

// Run measures the cells that are not kept, and those again in which loadgen was disturbed. It returns
// the runs that count, even if ctx ends or an error stops it midway. A run that was cut short is then
// the last and is marked as interrupted.
func (s Schedule) Run(ctx context.Context) ([]report.Run, error) {
	var runs []report.Run
	cells := s.Plan.order()
	for i, c := range cells {
		if s.Plan.enough(c.setting, runs) {
			continue
		}
		if kept := s.Plan.whole(c, s.Kept); kept != nil {
			runs = append(runs, kept...)
			continue
		}
		of, err := s.cell(ctx, c, i*len(s.Plan.phases()))
		runs = append(runs, of...)
		if err != nil {
			return runs, err
		}
	}
	for range moreTries {
		for i, c := range cells {
			if !slices.ContainsFunc(s.Plan.whole(c, runs), report.Run.Disturbed) {
				continue
			}
			of, err := s.cell(ctx, c, i*len(s.Plan.phases()))
			runs = append(runs, of...)
			if err != nil {
				return runs, err
			}
		}
	}
	return s.Plan.latest(runs), nil
}

// latest leaves out runs that were measured again.
func (p Plan) latest(runs []report.Run) (of []report.Run) {
	for i, r := range runs {
		again := func(o report.Run) bool { return o.Setting == r.Setting && o.Repeat == r.Repeat && o.Phase == r.Phase }
		if !slices.ContainsFunc(runs[i+1:], again) {
			of = append(of, r)
		}
	}
	return of
}

// cell measures all phases of one cell.
func (s Schedule) cell(ctx context.Context, c cell, before int) (runs []report.Run, err error) {
	phases := s.Plan.phases()
	p := Pass{Setting: c.setting, Repeat: c.repeat, Of: s.Plan.Passes()}
	if phases[0] == Warm { // no measured pass fills the cache
		p.Phase, p.Number = Cold, before+1
		if _, _, err := s.Runner.Measure(ctx, p); err != nil {
			return nil, err
		}
	}
	for i, phase := range phases {
		p.Phase, p.Number = phase, before+i+1
		run, requests, err := s.Runner.Measure(ctx, p)
		if run != nil {
			runs = append(runs, *run)
			if kept := s.Measured(*run, requests); err == nil {
				err = kept
			}
		}
		if err != nil {
			return runs, err
		}
	}
	return runs, nil
}

// WholeCells returns the runs of the cells in which each phase was measured to its end.
func (p Plan) WholeCells(runs []report.Run) (all []report.Run) {
	for _, c := range p.order() {
		all = append(all, p.whole(c, runs)...)
	}
	return all
}

// whole returns the runs of a cell, or nil if a phase was not measured to its end. The cold run of
// such a cell is measured again, because the warm run needs the cache that it fills.
func (p Plan) whole(c cell, runs []report.Run) (of []report.Run) {
	for _, phase := range p.phases() {
		last := -1
		for i, r := range runs { // the last one counts if a run was measured again
			same := r.Setting == c.setting.Name() && r.Repeat == c.repeat && r.Phase == string(phase)
			if same && !r.Interrupted && r.Completed > 0 {
				last = i
			}
		}
		if last < 0 {
			return nil
		}
		of = append(of, runs[last])
	}
	return of
}

// enough reports whether a setting needs no more repeats: in each phase, the 95 % bootstrap
// interval of its median throughput is within StopWhen to either side.
//
// Stopping early favours samples that happen to agree, so such an interval is too narrow. Measured
// on 400 samples with a noise of 3 %: an interval stopped at 2 % holds the truth 88 times in 100,
// and one after all 20 repeats 94 times (TestWhatStoppingEarlyDoesToAnInterval). The report says
// where a setting stopped. The decision on which settings differ keeps its error
// (TestStoppingEarlyDoesNotSplitEqualSettings).
func (p Plan) enough(c Setting, runs []report.Run) bool {
	if p.StopWhen == 0 {
		return false
	}
	for _, phase := range p.phases() {
		var throughputs []float64
		for _, r := range runs {
			if r.Setting == c.Name() && r.Phase == string(phase) && r.Complete {
				throughputs = append(throughputs, r.RequestThroughput)
			}
		}
		if !narrow(throughputs, p.StopWhen) {
			return false
		}
	}
	return true
}

func narrow(throughputs []float64, share float64) bool {
	low, high, ok := stats.MedianInterval(throughputs, 0.95)
	median := stats.Median(throughputs)
	return ok && median-low <= share*median && high-median <= share*median
}
