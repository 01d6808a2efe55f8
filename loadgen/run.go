package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"paceline/loadgen/phrase"
	"paceline/loadgen/report"
	"paceline/loadgen/sweep"
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
	if err := plan.ValidateFor(l.prompts); err != nil {
		return inputError{err}
	}
	out, err := makeOutput(o.out)
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
	if sim := s.status.GetUpstream().GetSimulator(); sim != nil && sim.GetSpeed() > 0 {
		plan.Speed = sim.GetSpeed() // wherever the simulator runs
	}
	r := newReport(o, plan, l, s)
	r.Tracing = tracing.told(o.jaeger)
	announce(r, out)
	requests, err := os.Create(filepath.Join(out, "requests.jsonl"))
	if err != nil {
		return errors.Join(inputError{fmt.Errorf("-out: %w", err)}, s.Close())
	}
	var digest report.Digest
	r.Runs, err = measure(ctx, plan, l, s, requests, &digest, log)
	if closeErr := requests.Close(); closeErr != nil {
		log.Warn("requests.jsonl", "error", closeErr)
	}
	if closeErr := s.Close(); closeErr != nil {
		log.Warn("stop", "error", closeErr)
	}
	if err != nil {
		log.Error("sweep cut short", "error", err)
		err = orInterrupted(ctx, err)
		r.Partial, r.PartialReason = true, err.Error()
	}
	if err := errors.Join(err, conclude(r, digest, o.lang(), out, log)); err != nil {
		return err
	}
	if failures := r.Failures(o.failIf); len(failures) > 0 {
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

// measure runs the sweep, showing its progress.
func measure(ctx context.Context, plan sweep.Plan, l load, s *stack, requests io.Writer, digest *report.Digest, log *slog.Logger) ([]report.Run, error) {
	progress := new(sweep.Progress)
	line := newLine(os.Stderr, progress)
	sw := &sweep.Sweep{
		Plan: plan, Prompts: l.prompts, Proxy: s.proxy, Direct: s.direct, Counters: s.counters,
		Progress: progress, Measured: line.measured, Log: log,
		Requests: func(all []report.Request) {
			digest.Add(all)
			if err := report.WriteRequests(requests, all); err != nil {
				log.Warn("requests.jsonl", "error", err)
			}
		},
	}
	before, err := s.proxy.CurrentSettings(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		// A proxy that was running before goes on as it was.
		restoring, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer done()
		if err := s.proxy.Apply(restoring, before); err != nil {
			log.Warn("the proxy's settings could not be put back", "error", err)
			tell(fmt.Errorf("the proxy's settings could not be put back: %w", err))
		}
	}()
	showing, stop := context.WithCancel(ctx)
	shown := make(chan struct{})
	go func() { defer close(shown); line.show(showing) }()
	defer func() { stop(); <-shown }()

	if err := sw.WarmUp(ctx); err != nil {
		return nil, err
	}
	return sw.Run(ctx)
}

// conclude writes the report and prints its summary. The error says what the
// figures suffer from, so that it reaches the exit status.
func conclude(r report.Report, digest report.Digest, lang phrase.Language, out string, log *slog.Logger) error {
	r.Files = []string{"report.md", "report.html", "results.json", "requests.jsonl", "bench.txt", "run.log"}
	errs := []error{ // the data first: everything else can be made from it
		writeFile(filepath.Join(out, "results.json"), func(f *os.File) error { return report.WriteJSON(f, r) }),
		writeFile(filepath.Join(out, "bench.txt"), func(f *os.File) error { return report.WriteBenchmarks(f, r) }),
		writePages(r, digest, lang, out),
	}
	if err := errors.Join(append(errs, report.WriteTerminal(os.Stdout, r, lang))...); err != nil {
		return err
	}
	fmt.Printf("\n%s\n", phrase.Say("report: %s", filepath.Join(out, "report.html")).In(lang))
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

// writePages writes what is made for reading.
func writePages(r report.Report, digest report.Digest, lang phrase.Language, out string) error {
	return errors.Join(
		writeFile(filepath.Join(out, "report.md"), func(f *os.File) error { return report.WriteMarkdown(f, r, lang) }),
		writeFile(filepath.Join(out, "report.html"), func(f *os.File) error { return report.WriteHTML(f, r, digest, lang) }),
	)
}

// makeOutput makes the directory of the report; by default one named after the
// time, so that no run overwrites another.
func makeOutput(dir string) (string, error) {
	if dir == "" {
		dir = filepath.Join("results", time.Now().Format("20060102-150405"))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("-out: %w", err)
	}
	return dir, nil
}

func openLog(dir string) (*slog.Logger, func(), error) {
	f, err := os.Create(filepath.Join(dir, "run.log"))
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
