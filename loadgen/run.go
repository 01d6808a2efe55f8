package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"paceline/loadgen/report"
	"paceline/loadgen/report/figures"
	"paceline/loadgen/report/render"
	"paceline/loadgen/sweep"
	"paceline/loadgen/target"
)

// execute does the whole job: prompts, stack, sweep, report. When the sweep is
// cut short it still writes the report of what was measured, and returns why.
func execute(ctx context.Context, o options) error {
	plan, err := o.plan()
	if err != nil {
		return inputError{err}
	}
	l, err := readLoad(o)
	if err != nil {
		return err
	}
	if err := o.shard.Plan(plan).ValidateFor(o.shard.Prompts(l.prompts)); err != nil {
		return inputError{err}
	}
	out, err := makeSweepOutput(o)
	if err != nil {
		return inputError{err}
	}
	log, closeLog, err := openLog(out)
	if err != nil {
		return inputError{err}
	}
	defer closeLog()
	log.Info("start", "version", version(), "args", o.args, "prompts", len(l.prompts), "source", l.source.Kind)

	tracing, err := startTracing(ctx, log)
	if err != nil {
		return inputError{err}
	}
	defer tracing.end(log)
	s, err := buildStack(ctx, o, tracing, log)
	if err != nil {
		err = orInterrupted(ctx, err)
		log.Error("start failed", "error", err)
		return err
	}
	closeStack := sync.OnceFunc(func() {
		if err := s.Close(); err != nil {
			log.Warn("stop", "error", err)
		}
	})
	defer closeStack()
	if o.coordinator != "" {
		return takePart(ctx, o, plan, l, s, out, log)
	}
	if sim := s.status.GetUpstream().GetSimulator(); sim != nil && sim.GetSpeed() > 0 {
		plan.Speed = sim.GetSpeed() // wherever the simulator runs
	}
	r := newReport(o, plan, l.source, l.envExec, s.status)
	r.Tracing = tracing.told(o.jaeger)
	before, err := s.proxy.CurrentSettings(ctx)
	if err != nil {
		return err
	}
	facts := slices.Concat(o.facts, plan.Facts(), sweep.PromptFacts(l.prompts), serverFacts(r))
	if o.shard.Of > 0 {
		facts = append(facts, sweep.Fact{Name: "-shard", Value: o.shard.String()})
	}
	rec, err := openRecord(o, out, plan, sweep.Beginning{
		At: r.CreatedAt, Args: o.args, Facts: facts, Before: map[string]target.Settings{o.targetAdmin: before},
	})
	if err != nil {
		return err
	}
	defer rec.Close() //nolint:errcheck // each line is on the disk already
	r.Resumed = rec.held.Resumed
	announce(r, out)
	fmt.Fprint(os.Stderr, rec.resumedText())

	l.prompts, plan = o.shard.Prompts(l.prompts), o.shard.Plan(plan)
	r.Config.WarmUpPrompts = sweep.WarmUpPrompts(l.prompts)
	progress := new(sweep.Progress)
	line := newLine(os.Stderr, progress)
	sw := &sweep.Sweep{Plan: plan, Prompts: l.prompts, Proxy: s.proxy, Direct: s.direct, Counters: s.counters, Progress: progress, Log: log}
	r.Runs, err = measure(ctx, sw, steered{o.targetAdmin: s.proxy}, rec, plan, line, log)
	closeStack()
	return finish(ctx, o, r, out, err, log)
}

// finish writes the report of a sweep that ended with err, and says how it went.
func finish(ctx context.Context, o options, r report.Report, out string, err error, log *slog.Logger) error {
	if err != nil {
		log.Error("sweep cut short", "error", err)
		err = orInterrupted(ctx, err)
		r.Partial, r.PartialReason = true, err.Error()
	}
	if err := errors.Join(err, conclude(r, o.lang(), out, log)); err != nil {
		return err
	}
	if failures := figures.Failures(r, o.failIf); len(failures) > 0 {
		return fmt.Errorf("%w:\n  %s", errThreshold, strings.Join(failures, "\n  "))
	}
	return nil
}

// errThreshold is what a sweep ends with in which a condition of -fail-if holds.
var errThreshold = errors.New("-fail-if")

// errInterrupted is what a signal makes of whatever it broke off.
var errInterrupted = errors.New("interrupted")

// orInterrupted is errInterrupted once ctx has ended, because every call that
// was under way then fails in words of its own, and else err.
func orInterrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errInterrupted
	}
	return err
}

// worker measures passes, after some that are not.
type worker interface {
	sweep.Runner
	WarmUp(ctx context.Context) error
}

// steered are proxies whose settings a sweep changes, by their admin addresses.
type steered map[string]*target.Proxy

// putBack gives them the settings of before. A proxy that was running goes on as it was,
// also after a sweep that was killed and resumed.
func (s steered) putBack(ctx context.Context, before map[string]target.Settings, log *slog.Logger) {
	ctx, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer done()
	for addr, proxy := range s {
		was, known := before[addr]
		if !known {
			continue
		}
		if err := proxy.Apply(ctx, was); err != nil {
			log.Warn("the proxy's settings could not be put back", "error", err)
			tell(fmt.Errorf("the proxy's settings could not be put back: %w", err))
		}
	}
}

// measure runs the sweep, showing its progress and recording each run.
func measure(ctx context.Context, w worker, proxies steered, rec *record, plan sweep.Plan, line *line, log *slog.Logger) ([]report.Run, error) {
	defer proxies.putBack(ctx, rec.held.Before, log)
	showing, stop := context.WithCancel(ctx)
	shown := make(chan struct{})
	go func() { defer close(shown); line.show(showing) }()
	defer func() { stop(); <-shown }()

	if len(rec.kept) < plan.Passes() { // else nothing is left to measure
		if err := w.WarmUp(ctx); err != nil {
			return rec.kept, err
		}
	}
	return sweep.Schedule{Plan: plan, Runner: w, Kept: rec.kept, Measured: func(run report.Run, requests []report.Request) error {
		line.measured(run)
		return rec.measured(run, requests)
	}}.Run(ctx)
}

// conclude writes the report and prints its summary. The error says what the
// figures suffer from, so that it reaches the exit status.
func conclude(r report.Report, lang *render.Language, out string, log *slog.Logger) error {
	r.Files = []string{"report.md", "report.html", "results.json", "bench.txt"}
	for _, name := range []string{journalFile, requestsFile, "run.log"} {
		if _, err := os.Stat(filepath.Join(out, name)); err == nil {
			r.Files = append(r.Files, name)
		}
	}
	var errs []error
	if cells := r.Latencies(); len(cells) > 0 {
		errs = append(errs, writeLatencies(filepath.Join(out, "latency"), cells))
		r.Files = append(r.Files, "latency/*.hgrm")
	}
	digest, err := readDigest(out)
	if err != nil {
		log.Warn(requestsFile, "error", err) // the report goes without
	}
	errs = append(errs, // the data first: everything else can be made from it
		writeFile(filepath.Join(out, "results.json"), func(f *os.File) error { return report.WriteJSON(f, r) }),
		writeFile(filepath.Join(out, "bench.txt"), func(f *os.File) error { return report.WriteBenchmarks(f, r) }),
		writePages(os.Stdout, figures.Of(r, digest), lang, out))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	fmt.Printf("\n%s\n", render.Made(filepath.Join(out, "report.html"), lang))
	failed, dropped := 0, 0
	for _, run := range r.Runs {
		failed += run.Failed
		dropped += run.Dropped()
	}
	log.Info("end", "runs", len(r.Runs), "failed_requests", failed, "partial", r.Partial)
	if failed > 0 && !r.Partial {
		return fmt.Errorf("%d requests failed: the report counts them, by cause", failed)
	}
	if dropped > 0 && !r.Partial {
		return fmt.Errorf("%d requests were dropped, because -most-outstanding were under way when they were due", dropped)
	}
	return nil
}

// writePages writes the report for readers, and its summary to w.
func writePages(w io.Writer, f figures.Figures, lang *render.Language, out string) error {
	return errors.Join(
		writeFile(filepath.Join(out, "report.md"), func(file *os.File) error { return render.WriteMarkdown(file, f, lang) }),
		writeFile(filepath.Join(out, "report.html"), func(file *os.File) error { return render.WriteHTML(file, f, lang) }),
		render.WriteTerminal(w, f, lang),
	)
}

// makeOutput makes the directory of the report; by default one named after the
// time, so that no run overwrites another.
func makeOutput(o options) (string, error) {
	if o.resume != "" {
		return o.resume, nil
	}
	dir := o.out
	if dir == "" {
		dir = filepath.Join("results", time.Now().Format("20060102-150405"))
		if o.shard.Of > 0 { // others may begin in the same second
			dir += fmt.Sprintf("-shard-%d", o.shard.Index)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("-out: %w", err)
	}
	return dir, nil
}

// makeSweepOutput is makeOutput for what is measured anew: it spares what another sweep
// has measured and not told.
func makeSweepOutput(o options) (string, error) {
	if o.resume == "" && o.out != "" && unfinished(o.out) {
		return "", fmt.Errorf("-out: %s holds a sweep that was cut short: go on with it by -resume %s, or name another directory", o.out, o.out)
	}
	return makeOutput(o)
}

// unfinished says whether a directory holds what a sweep measured before it was cut: a
// journal, and no report of all of it.
func unfinished(dir string) bool {
	held, err := sweep.ReadJournal(filepath.Join(dir, journalFile))
	if err != nil || len(held.Runs) == 0 {
		return false
	}
	r, err := readResults(dir)
	return err != nil || r.Partial || r.CreatedAt.Before(held.At) || len(r.Resumed) < len(held.Resumed)
}

func openLog(dir string) (*slog.Logger, func(), error) {
	f, err := os.OpenFile(filepath.Join(dir, "run.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644) // a resumed sweep goes on in it
	if err != nil {
		return nil, nil, fmt.Errorf("-out: %w", err)
	}
	return slog.New(slog.NewTextHandler(f, nil)), func() { _ = f.Close() }, nil
}

func writeFile(path string, write func(*os.File) error) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("-out: %w", err)
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// writeLatencies writes each cell's latencies as HdrHistogram's tools read them.
func writeLatencies(dir string, cells []report.Latencies) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("-out: %w", err)
	}
	var errs []error
	for _, c := range cells {
		errs = append(errs, writeFile(filepath.Join(dir, c.Name()+".hgrm"), func(f *os.File) error { return c.Histogram.WritePercentiles(f) }))
	}
	return errors.Join(errs...)
}
