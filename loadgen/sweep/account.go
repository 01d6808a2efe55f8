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
	"paceline/loadgen/stats"
	"paceline/sglang"
)

// Counters reads SGLang's own counts of its prefill work.
type Counters struct {
	Client *sglang.Client // reads /v1/loads; nil: not read

	// Log is the path of SGLang's log; empty: not read. SGLang writes a line at the start of each
	// forward, with the number of new sequences:
	//
	//	Prefill batch, #new-seq: 16, #new-token: 8192, #cached-token: 0, …
	//
	// The whole file is read each time, so it may be rotated between two sweeps but not within one.
	Log string
}

// work is what SGLang has counted since its start. nil means unknown.
type work struct {
	running, waiting int      // requests at this moment
	uncachedTokens   *int64   // tokens computed
	busySeconds      *float64 // time spent computing them
	forwards         *int64   // prefill batches, as SGLang calls what one forward computes
	sequences        *int64   // new sequences in them: #new-seq
}

// read reads the counters. A counter that can't be read stays unknown.
func (c Counters) read(ctx context.Context) (w work) {
	if c.Client != nil {
		if load, err := c.Client.Loads(ctx); err == nil {
			seconds := float64(load.TotalPrefillBusyMicros) / 1e6
			w.uncachedTokens, w.busySeconds = &load.TotalPrefillUncachedTokens, &seconds
			w.running, w.waiting = load.NumRunning, load.NumWaiting
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

// countPrefills counts whole lines only. A line that SGLang is still writing counts next time.
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

// account reads the counters. The returned function reads them again and writes the difference into
// a run, if both readings are known. With a warm-up it writes nothing, because the counters don't
// show where the warm-up ends.
func (p Plan) account(ctx context.Context, c Counters) func(context.Context, *report.Run) {
	if p.Arrival.WarmUp > 0 {
		return func(context.Context, *report.Run) {}
	}
	before := c.read(ctx)
	return func(ctx context.Context, run *report.Run) {
		// The counters are read even after an interruption, but a server that hangs must not delay the report.
		ctx, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer done()
		after := c.read(ctx)
		if n := after.uncachedTokens; n != nil && *n == 0 { // SGLang before 0.5.17 does not count them
			after.uncachedTokens, after.busySeconds = nil, nil
		}
		run.ServerUncachedTokens = minus(after.uncachedTokens, before.uncachedTokens)
		run.ServerBusySeconds = minus(after.busySeconds, before.busySeconds)
		takeCached(run)
		if before.running+before.waiting > 0 {
			run.Notes = append(run.Notes,
				fmt.Sprintf("SGLang ran %d and queued %d requests of others when it began", before.running, before.waiting))
		}
		run.ServerForwards, run.ServerSequences = minus(after.forwards, before.forwards), minus(after.sequences, before.sequences)
	}
}

// takeCached takes the cached tokens from SGLang's own count where the answers do not tell them. No token
// computed means an SGLang that does not count.
func takeCached(run *report.Run) {
	if n := run.ServerUncachedTokens; run.CachedUnknown && n != nil && *n > 0 && *n <= run.PromptTokens {
		run.CachedTokens, run.CachedUnknown = run.PromptTokens-*n, false
	}
}

func minus[T int64 | float64](a, b *T) *T {
	if a == nil || b == nil {
		return nil
	}
	d := *a - *b
	return &d
}

// usage watches what this process, with all that it embeds, uses during a pass.
type usage struct {
	cpu  time.Duration // user and system, at the start; 0 where the system does not report it
	late []float64     // see report.Run.SchedulerWait
	stop chan struct{}
	done chan struct{}
}

// nap is how long watch's goroutine sleeps at a time.
const nap = time.Millisecond

// watch begins to watch, until since.
func watch() *usage {
	u := &usage{cpu: processCPU(), stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(u.done)
		for {
			start := time.Now()
			select {
			case <-u.stop:
				return
			case <-time.After(nap):
				u.late = append(u.late, max(0, time.Since(start)-nap).Seconds())
			}
		}
	}()
	return u
}

// since ends the watch, and returns what was used; nil if unknown.
func (u *usage) since() (cpuSeconds *float64, wait *report.SchedulerWait) {
	if u == nil {
		return nil, nil
	}
	close(u.stop)
	<-u.done
	if cpu := (processCPU() - u.cpu).Seconds(); cpu > 0 {
		cpuSeconds = &cpu
	}
	if len(u.late) > 0 {
		s := stats.Summarize(u.late)
		wait = &report.SchedulerWait{P50: s.P50, P99: s.P99, Max: s.Max}
	}
	return cpuSeconds, wait
}
