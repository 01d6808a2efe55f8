package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"paceline/loadgen/report"
	"paceline/loadgen/shard"
	"paceline/loadgen/sweep"
)

// validateMember names what a shard of a coordinator needs or may not have.
func (o options) validateMember() error {
	switch {
	case o.shard.Of == 0:
		return errors.New("-coordinator: needs -shard i/n too")
	case o.target == "":
		return errors.New("-coordinator: needs -target too: the coordinator steers running proxies")
	case o.targetAdmin != "":
		return errors.New("-coordinator and -target-admin: the coordinator steers the proxies; give -target-admin to it")
	case o.resume != "":
		return errors.New("-coordinator and -resume: give -resume to loadgen coordinate")
	}
	if _, err := shard.NewMember(o.shard, o.coordinator); err != nil {
		return fmt.Errorf("-coordinator: %w", err)
	}
	return nil
}

// takePart sends this shard's part of the load as the coordinator says. What it measured
// goes there; its requests also stay here.
func takePart(ctx context.Context, o options, plan sweep.Plan, l load, s *stack, out string, log *slog.Logger) error {
	m, err := shard.NewMember(o.shard, o.coordinator)
	if err != nil {
		return inputError{fmt.Errorf("-coordinator: %w", err)}
	}
	m.Facts, m.Prompts, m.Source, m.EnvExec = slices.Concat(o.facts, plan.Facts()), sweep.PromptFacts(l.prompts), l.source, l.envExec
	fmt.Fprintf(os.Stderr, "shard %d of %d: joining %s; writing to %s\n", o.shard.Index, o.shard.Of, m.URL, out)
	if plan.Speed, err = m.Join(ctx); err != nil {
		return orInterrupted(ctx, err)
	}
	requests, err := os.Create(filepath.Join(out, requestsFile))
	if err != nil {
		return inputError{fmt.Errorf("-out: %w", err)}
	}
	defer requests.Close() //nolint:errcheck // the coordinator has them too
	progress := new(sweep.Progress)
	line := newLine(os.Stderr, progress)
	showing, stop := context.WithCancel(ctx)
	shown := make(chan struct{})
	go func() { defer close(shown); line.show(showing) }()
	defer func() { stop(); <-shown }()

	w := &sweep.Sweep{Plan: o.shard.Plan(plan), Prompts: o.shard.Prompts(l.prompts), Proxy: s.proxy, Direct: s.direct, Progress: progress, Log: log, Steered: true}
	err = m.Run(ctx, plan, w, func(run report.Run, all []report.Request) {
		line.measured(run)
		if err := report.WriteRequests(requests, all); err != nil {
			log.Warn(requestsFile, "error", err)
		}
	})
	if err != nil {
		log.Error("cut short", "error", err)
		return orInterrupted(ctx, err)
	}
	log.Info("end")
	return nil
}
