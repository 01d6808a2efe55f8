package sweep

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"regexp"
	"runtime/metrics"
	"strconv"
	"time"

	"paceline/loadgen/report"
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
	uncachedTokens *int64   // tokens computed
	busySeconds    *float64 // time spent computing them
	forwards       *int64   // prefill batches, as SGLang calls what one forward computes
	sequences      *int64   // new sequences in them: #new-seq
}

// read reads the counters. A counter that can't be read stays unknown.
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
		run.ServerUncachedTokens = minus(after.uncachedTokens, before.uncachedTokens)
		run.ServerBusySeconds = minus(after.busySeconds, before.busySeconds)
		takeCached(run)
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

// usage is what this process, with all that it embeds, has used since it started.
type usage struct {
	cpu   time.Duration             // user and system; 0 where the system does not report it
	waits *metrics.Float64Histogram // how long runnable goroutines waited for a processor, in seconds
}

func readUsage() usage {
	s := []metrics.Sample{{Name: "/sched/latencies:seconds"}}
	metrics.Read(s)
	u := usage{cpu: processCPU()}
	if s[0].Value.Kind() == metrics.KindFloat64Histogram {
		u.waits = s[0].Value.Float64Histogram()
	}
	return u
}

// since returns what was used after before; nil if unknown.
func (u usage) since(before usage) (cpuSeconds *float64, wait *report.SchedulerWait) {
	if cpu := (u.cpu - before.cpu).Seconds(); cpu > 0 {
		cpuSeconds = &cpu
	}
	if p50, ok := u.wait(before, 0.5); ok {
		p99, _ := u.wait(before, 0.99)
		maxWait, _ := u.wait(before, 1)
		wait = &report.SchedulerWait{P50: p50, P99: p99, Max: maxWait}
	}
	return cpuSeconds, wait
}

// wait returns a quantile of the waits between before and u, in real seconds: the upper edge of its
// bucket. It returns false if the runtime reports no waits.
func (u usage) wait(before usage, share float64) (float64, bool) {
	if u.waits == nil || before.waits == nil || len(u.waits.Counts) != len(before.waits.Counts) {
		return 0, false
	}
	total := uint64(0)
	for i, n := range u.waits.Counts {
		total += n - before.waits.Counts[i]
	}
	need, seen := uint64(math.Ceil(share*float64(total))), uint64(0)
	edges := u.waits.Buckets
	for i, n := range u.waits.Counts {
		if seen += n - before.waits.Counts[i]; total == 0 || seen < max(1, need) {
			continue
		}
		if i+1 < len(edges) && !math.IsInf(edges[i+1], 1) {
			return edges[i+1], true
		}
		return edges[i], true
	}
	return 0, false
}
