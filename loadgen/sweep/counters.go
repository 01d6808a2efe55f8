package sweep

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"time"

	"paceline/loadgen/report"
	"paceline/sglang"
)

// Work is SGLang's own count of its prefill work, from a moment that SGLang chose. nil is
// unknown.
type Work struct {
	UncachedTokens *int64   // tokens computed
	BusySeconds    *float64 // time spent computing them
	Forwards       *int64   // prefill batches, as SGLang calls what one forward computes
	Sequences      *int64   // new sequences in them: #new-seq
}

// Counters reads SGLang's own counts.
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

// LogCounters counts the prefill batches in SGLang's log and their new sequences:
//
//	Prefill batch, #new-seq: 16, #new-token: 8192, #cached-token: 0, …
//
// It reads the whole log each time, so the log may be rotated between two sweeps but not
// within one. SGLang writes a line as a forward begins.
type LogCounters struct{ Path string }

// Work implements Counters.
func (c LogCounters) Work(ctx context.Context) (Work, error) {
	f, err := os.Open(c.Path)
	if err != nil {
		return Work{}, fmt.Errorf("-sglang-log: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	batches, sequences, err := countPrefills(ctx, f)
	if err != nil {
		return Work{}, fmt.Errorf("-sglang-log: %w", err)
	}
	return Work{Forwards: &batches, Sequences: &sequences}, nil
}

var newSequences = regexp.MustCompile(`Prefill batch.*?#new-seq: (\d+)`)

// countPrefills counts whole lines: a line that SGLang is writing counts next time.
func countPrefills(ctx context.Context, r io.Reader) (batches, sequences int64, err error) {
	lines := bufio.NewReader(r)
	for ctx.Err() == nil {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return batches, sequences, nil
		}
		if err != nil {
			return 0, 0, err
		}
		if found := newSequences.FindSubmatch(line); found != nil {
			if n, err := strconv.ParseInt(string(found[1]), 10, 32); err == nil {
				batches, sequences = batches+1, sequences+n
			}
		}
	}
	return 0, 0, ctx.Err()
}

// AllCounters joins counters of different things. Those that can't be read count nothing.
type AllCounters []Counters

// Work implements Counters. It fails if none can be read.
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

func minus[T int64 | float64](a, b *T) *T {
	if a == nil || b == nil {
		return nil
	}
	d := *a - *b
	return &d
}

// account reads the counters now. The function that it returns reads them again and writes
// the difference into a run. Counters that can't be read, nil ones, and those around a
// warm-up, whose end they don't see, leave the run as it is.
func (p Plan) account(ctx context.Context, c Counters) func(context.Context, *report.Run) {
	if c == nil || p.Arrival.WarmUp > 0 {
		return func(context.Context, *report.Run) {}
	}
	before, err := c.Work(ctx)
	return func(ctx context.Context, run *report.Run) {
		// Also after a pass that was cut short; but a server that hangs must not keep the report.
		ctx, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer done()
		after, errAfter := c.Work(ctx)
		if err != nil || errAfter != nil {
			return
		}
		run.ServerUncachedTokens = minus(after.UncachedTokens, before.UncachedTokens)
		run.ServerBusySeconds = minus(after.BusySeconds, before.BusySeconds)
		run.ServerForwards, run.ServerSequences = minus(after.Forwards, before.Forwards), minus(after.Sequences, before.Sequences)
	}
}
