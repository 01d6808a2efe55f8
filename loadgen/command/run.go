package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"paceline/loadgen/journal"
	"paceline/loadgen/load"
	"paceline/loadgen/report"
	"paceline/loadgen/report/figures"
	"paceline/loadgen/sweep"
	"paceline/loadgen/target"
	"paceline/proxy/version"
)

// sharedStates is the load that follows the benchmark of record and shows what the product is for:
// questions about shared states, through the proxy and straight to SGLang.
var sharedStates = []string{"-work", "score", "-phases", "cold"}

func executeSharedStates(ctx context.Context, o options, out string) error {
	next, err := parseOptions(append(slices.Clone(sharedStates), "-lang", o.language, "-out", out), io.Discard)
	if err != nil {
		return inputError{err}
	}
	fmt.Fprintln(os.Stderr)
	_, err = execute(ctx, next)
	return err
}

// execute prepares a sweep, its prompts, the directory of its report and its log, and runs it. It returns
// the directory.
func execute(ctx context.Context, o options) (out string, err error) {
	l, err := load.Read(o.load)
	if err != nil {
		return "", inputError{err}
	}
	if err := o.plan.ValidateFor(l.Prompts); err != nil {
		return "", inputError{err}
	}
	out = o.resume
	if out == "" {
		if out, err = makeOutput(o.out); err != nil {
			return "", inputError{err}
		}
	}
	log, closeLog, err := openLog(out)
	if err != nil {
		return "", inputError{err}
	}
	defer closeLog()
	log.Info("sweep started", "version", version.Short(), "args", o.args, "prompts", len(l.Prompts), "source", l.Source.Kind)
	tracing, err := startTracing(ctx, log)
	if err != nil {
		return "", inputError{err}
	}
	defer tracing.end(log)
	if !o.simulated() {
		return out, runSweep(ctx, nil, o, l, out, tracing, log)
	}
	return out, inBubble(ctx, func(ctx context.Context, b *bubble) error { return runSweep(ctx, b, o, l, out, tracing, log) })
}

// runSweep starts the servers, measures and reports. If the sweep is cut short, runSweep reports
// what was measured and returns the reason. b is nil without the simulator in this process.
func runSweep(ctx context.Context, b *bubble, o options, l load.Load, out string, tracing *tracing, log *slog.Logger) error {
	s, err := buildStack(ctx, b, o, tracing, log)
	if err != nil {
		err = orInterrupted(ctx, err)
		log.Error("start the sweep", "error", err)
		return err
	}
	closeStack := sync.OnceFunc(func() {
		if err := s.Close(); err != nil {
			log.Warn("stop the servers", "error", err)
		}
	})
	defer closeStack()
	r := newReport(o, l, s.status)
	r.Tracing, r.Config.WarmUpPrompts = tracing.forReport(o.jaeger), sweep.WarmUpPrompts(l.Prompts)
	j, err := openJournal(ctx, o, out, l, r, s.proxy)
	if err != nil {
		return err
	}
	defer j.Close() //nolint:errcheck // each line is on the disk already
	r.Resumed = j.Resumed
	announce(r, out)
	announceKept(j, len(r.Config.Phases))
	if o.target != "" {
		fmt.Fprintf(os.Stderr, "each cold run flushes the prefix cache of SGLang behind %s, whose settings change until the end\n", o.target)
	}
	if s.direct != nil {
		if err := checkContext(ctx, s.direct.Client, l.Prompts, r.Server.MaxPromptTokens); err != nil {
			return inputError{err}
		}
	}

	sw := &sweep.Sweep{
		Plan: o.plan, Prompts: l.Prompts, Proxy: s.proxy, Direct: s.direct, Through: s.through, Straight: s.straight,
		Counters: s.counters, Virtual: b != nil, Log: log,
	}
	if !r.Simulated && local(r.Server.URL) && (o.target == "" || local("//"+o.target)) {
		sw.Cards = sweep.FindCards()
	}
	r.Runs, err = measure(ctx, sw, j, o)
	r.Source.TokenRatio = sw.TokenRatio
	putBack(ctx, s.proxy, j.Before[o.targetAdmin], log)
	closeStack()
	if errors.Is(err, sweep.ErrTooFewPrompts) { // at every setting
		return inputError{err}
	}
	return finish(ctx, o, r, out, err, log)
}

// local reports whether a URL is of this machine, by its loopback address.
func local(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback())
}

// openJournal begins the journal of a sweep, or opens the one of -resume.
func openJournal(ctx context.Context, o options, out string, l load.Load, r report.Report, proxy *target.Proxy) (*journal.Journal, error) {
	before, err := proxy.CurrentSettings(ctx)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(o.plan.Settings)) // they depend on whether direct can be measured
	for i, s := range o.plan.Settings {
		names[i] = s.Name()
	}
	facts := slices.Concat(o.facts, journal.PromptFacts(l.Prompts), []journal.Fact{
		{Name: "settings", Value: strings.Join(names, "; ")},
		{Name: "SGLang's version", Value: r.Server.Version}, {Name: "model", Value: r.Server.Model},
		{Name: "device", Value: r.Server.Device}, {Name: "simulated", Value: fmt.Sprint(r.Simulated)},
	})
	b := journal.Beginning{At: r.CreatedAt, Args: o.args, Facts: facts, Before: map[string]target.Settings{o.targetAdmin: before}}
	if o.resume == "" {
		j, err := journal.Create(out, b)
		if err != nil {
			return nil, inputError{fmt.Errorf("-out: %w", err)}
		}
		return j, nil
	}
	j, err := journal.Resume(out, o.plan, b, !unfinished(out))
	if err != nil {
		return nil, inputError{fmt.Errorf("-resume: %w", err)}
	}
	return j, nil
}

// measure runs the sweep, shows its progress and records each run.
func measure(ctx context.Context, sw *sweep.Sweep, j *journal.Journal, o options) ([]report.Run, error) {
	line := newLine(os.Stderr, &sw.Progress)
	line.terminal = line.terminal && !sw.Virtual // where a live line would race, and know no real time
	showing, stop := context.WithCancel(ctx)
	var shown sync.WaitGroup
	shown.Go(func() { line.show(showing) })
	defer func() { stop(); shown.Wait() }()

	if len(j.Kept) < sw.Plan.Passes() { // else nothing is left to measure
		if err := sw.WarmUp(ctx); err != nil {
			return j.Kept, err
		}
		if ratio := sw.TokenRatio; ratio > 0 && math.Abs(ratio-1) > figures.MaxTokensOff {
			line.write(fmt.Sprintf("warning: the server counts %.2f times the prompt tokens that the trajectories record: see -chat-template\n",
				ratio))
		}
	}
	measured := func(run report.Run, requests []report.Request) error {
		line.measured(run)
		return j.Measured(run, requests)
	}
	if o.objective != nil {
		return sweep.Search{Sweep: sw, Objective: *o.objective, Measured: measured}.Run(ctx)
	}
	return sweep.Schedule{Plan: sw.Plan, Runner: sw, Kept: j.Kept, Measured: measured}.Run(ctx)
}

// putBack restores the proxy's settings from before the sweep.
func putBack(ctx context.Context, proxy *target.Proxy, before target.Settings, log *slog.Logger) {
	ctx, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer done()
	if err := proxy.Apply(ctx, before); err != nil {
		log.Warn("restore the proxy's settings", "error", err)
		printError(fmt.Errorf("restore the proxy's settings: %w", err))
	}
}

// finish writes the report of a sweep that ended with err. It returns the error that decides the
// exit status.
func finish(ctx context.Context, o options, r report.Report, out string, err error, log *slog.Logger) error {
	if err != nil {
		log.Error("sweep cut short", "error", err)
		err = orInterrupted(ctx, err)
		r.Partial, r.PartialReason = true, err.Error()
		if errors.Is(err, errInterrupted) && o.objective == nil && unfinished(out) {
			err = fmt.Errorf("%w: go on with: go run ./loadgen -resume %s", err, out)
		}
	}
	if err := errors.Join(err, conclude(r, o.lang, out, log)); err != nil {
		return err
	}
	if failures := figures.Failures(r, o.failIf); len(failures) > 0 {
		return fmt.Errorf("%w:\n  %s", errThreshold, strings.Join(failures, "\n  "))
	}
	return nil
}

var (
	errThreshold   = errors.New("-fail-if") // a condition holds
	errInterrupted = errors.New("interrupted")
)

// orInterrupted returns err, or errInterrupted if ctx has ended: then each call under way fails
// with an error of its own.
func orInterrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errInterrupted
	}
	return err
}

// announceKept prints which runs of a resumed sweep are not measured again.
func announceKept(j *journal.Journal, phases int) {
	if len(j.Resumed) == 0 {
		return
	}
	var names []string
	for _, run := range j.Kept {
		if !slices.Contains(names, run.Setting) {
			names = append(names, run.Setting)
		}
	}
	if len(names) == 0 {
		fmt.Fprintln(os.Stderr, "resumed: no run was complete")
		return
	}
	fmt.Fprintf(os.Stderr, "resumed: %d runs of %s are kept (%s); the passes of the setting under way when it ended, at most %d, are lost\n",
		len(j.Kept), j.At.Local().Format(time.DateTime), strings.Join(names, "; "), phases)
}
