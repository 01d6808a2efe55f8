package sweep

import (
	"context"
	"errors"
	"time"

	"paceline/loadgen/report"
	"paceline/sglang"
)

// Work is SGLang's own account of prefill, counted since some moment of its own. nil is
// not told.
type Work struct {
	UncachedTokens *int64   // tokens computed
	BusySeconds    *float64 // time spent computing them
	Forwards       *int64   // prefill batches, as SGLang calls what one forward computes
	Sequences      *int64   // new ones in them: #new-seq
}

// Counters reads SGLang's own account.
type Counters interface {
	Work(ctx context.Context) (Work, error)
}

// ServerCounters reads /v1/loads.
type ServerCounters struct{ Client *sglang.Client }

// Work implements Counters.
func (c ServerCounters) Work(ctx context.Context) (Work, error) {
	load, err := c.Client.Loads(ctx)
	if err != nil {
		return Work{}, err
	}
	seconds := float64(load.TotalPrefillBusyMicros) / 1e6
	return Work{UncachedTokens: &load.TotalPrefillUncachedTokens, BusySeconds: &seconds}, nil
}

// AllCounters joins accounts that tell of different things. One that can't be read
// tells nothing.
type AllCounters []Counters

// Work implements Counters. Its error is that of all, where none could be read.
func (all AllCounters) Work(ctx context.Context) (Work, error) {
	var w Work
	var errs []error
	for _, c := range all {
		one, err := c.Work(ctx)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		w.UncachedTokens, w.BusySeconds = either(w.UncachedTokens, one.UncachedTokens), either(w.BusySeconds, one.BusySeconds)
		w.Forwards, w.Sequences = either(w.Forwards, one.Forwards), either(w.Sequences, one.Sequences)
	}
	if len(errs) == len(all) {
		return w, errors.Join(errs...)
	}
	return w, nil
}

func either[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

// since is what was done after before.
func (w Work) since(before Work) Work {
	return Work{
		minus(w.UncachedTokens, before.UncachedTokens), minus(w.BusySeconds, before.BusySeconds),
		minus(w.Forwards, before.Forwards), minus(w.Sequences, before.Sequences),
	}
}

func minus[T int64 | float64](a, b *T) *T {
	if a == nil || b == nil {
		return nil
	}
	d := *a - *b
	return &d
}

// tell puts it into a run.
func (w Work) tell(run *report.Run) {
	run.ServerUncachedTokens, run.ServerBusySeconds = w.UncachedTokens, w.BusySeconds
	run.ServerForwards, run.ServerSequences = w.Forwards, w.Sequences
}

// Account reads an account now, and what it returns puts into a run what was done in
// between. Accounts that can't be read, and nil ones, tell nothing; nor does any where
// there is a warm-up, of whose end they don't know.
func (p Plan) Account(ctx context.Context, c Counters) func(context.Context, *report.Run) {
	if c == nil || p.Arrival.WarmUp > 0 {
		return func(context.Context, *report.Run) {}
	}
	before, err := c.Work(ctx)
	return func(ctx context.Context, run *report.Run) {
		// Also of a pass that was cut short; but a server that hangs must not keep the report.
		ctx, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer done()
		after, errAfter := c.Work(ctx)
		if err == nil && errAfter == nil {
			after.since(before).tell(run)
		}
	}
}
