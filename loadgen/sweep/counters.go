package sweep

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"regexp"
	"strconv"
	"time"

	"paceline/loadgen/report"
	"paceline/sglang"
)

// Counters reads SGLang's own counts of its prefill work.
type Counters struct {
	Client *sglang.Client // reads /v1/loads; nil: not read

	// Log is the file of SGLang's log; empty: not read. Of each forward it has a line with the
	// new sequences, which SGLang writes as the forward begins:
	//
	//	Prefill batch, #new-seq: 16, #new-token: 8192, #cached-token: 0, …
	//
	// It is read as a whole each time, so it may be rotated between two sweeps but not within one.
	Log string
}

// work is what SGLang has counted since a moment that it chose. nil is unknown.
type work struct {
	uncachedTokens *int64   // tokens computed
	busySeconds    *float64 // time spent computing them
	forwards       *int64   // prefill batches, as SGLang calls what one forward computes
	sequences      *int64   // new sequences in them: #new-seq
}

// read reads the counters. What can't be read stays unknown.
func (c Counters) read(ctx context.Context) (w work) {
	if c.Client != nil {
		if load, err := c.Client.Loads(ctx); err == nil {
			seconds := float64(load.TotalPrefillBusyMicros) / 1e6
			w.uncachedTokens, w.busySeconds = &load.TotalPrefillUncachedTokens, &seconds
		}
	}
	if c.Log == "" {
		return w
	}
	f, err := os.Open(c.Log)
	if err != nil {
		return w
	}
	defer f.Close() //nolint:errcheck // only read
	if forwards, sequences, err := countPrefills(ctx, f); err == nil {
		w.forwards, w.sequences = &forwards, &sequences
	}
	return w
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

// account reads the counters now. The function that it returns reads them again and writes the
// difference into a run, as far as both are known. Around a warm-up, whose end the counters don't
// see, it leaves the run as it is.
func (p Plan) account(ctx context.Context, c Counters) func(context.Context, *report.Run) {
	if p.Arrival.WarmUp > 0 {
		return func(context.Context, *report.Run) {}
	}
	before := c.read(ctx)
	return func(ctx context.Context, run *report.Run) {
		// Also after a pass that was cut short; but a server that hangs must not keep the report.
		ctx, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer done()
		after := c.read(ctx)
		run.ServerUncachedTokens = minus(after.uncachedTokens, before.uncachedTokens)
		run.ServerBusySeconds = minus(after.busySeconds, before.busySeconds)
		run.ServerForwards, run.ServerSequences = minus(after.forwards, before.forwards), minus(after.sequences, before.sequences)
	}
}

func minus[T int64 | float64](a, b *T) *T {
	if a == nil || b == nil {
		return nil
	}
	d := *a - *b
	return &d
}
