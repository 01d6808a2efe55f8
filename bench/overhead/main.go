// Command overhead measures what the proxy costs beside servers that do less. Each server
// is a process of its own; measurements are interleaved, repeated, and reported as ratios
// (lowest – median – highest). CPU time and memory are read from /proc (Linux).
//
//	go run ./bench/overhead -measure throughput    a bare gRPC server with the same messages
//	go run ./bench/overhead -measure latency       the same, at a fixed rate below saturation
//	go run ./bench/overhead -measure memory        resident memory idle and with 10,000 prompts waiting, and CPU when idle
//	go run ./bench/overhead -measure passthrough   a stream through the proxy and straight
//	go run ./bench/overhead -measure tracing       the proxy with and without tracing, and with collectors that are dead, slow or refuse
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

type options struct {
	role, measure, upstream, profile, traceDetail, modes string

	bare bool
	env  []string // of a process that is started

	callers, bytes, size, inFlight, repeats int
	rate                                    float64
	maxWait, delay, seconds                 time.Duration
}

var measurements = map[string]func(context.Context, options) error{
	"throughput": measureThroughput, "latency": measureLatency, "memory": measureMemory,
	"passthrough": measurePassThrough, "tracing": measureTracing,
}

var roles = map[string]func(context.Context, options) error{"upstream": upstream, "echo": echo, "proxy": proxy}

func main() {
	var o options
	flag.StringVar(&o.measure, "measure", "throughput", "throughput, latency, memory, passthrough or tracing")
	flag.StringVar(&o.role, "role", "", "part of a process that a measurement starts; empty: measure")
	flag.StringVar(&o.upstream, "upstream", "", "the proxy's upstream")
	flag.StringVar(&o.profile, "cpuprofile", "", "`file` for a CPU profile of the proxy")
	flag.BoolVar(&o.bare, "bare", false, "no metrics, for the role proxy")
	flag.StringVar(&o.traceDetail, "trace-detail", "", "for the role proxy")
	flag.StringVar(&o.modes, "modes", "", "of -measure tracing, the `names` of those wanted beside off, with commas; empty: all")
	flag.IntVar(&o.callers, "callers", 64, "callers at once")
	flag.IntVar(&o.bytes, "bytes", 8192, "bytes of a prompt, source code")
	flag.IntVar(&o.size, "batch-size", 16, "batch size")
	flag.IntVar(&o.inFlight, "max-in-flight", 2, "batches in flight")
	flag.DurationVar(&o.maxWait, "max-wait", 5*time.Millisecond, "max wait for a batch to fill")
	flag.DurationVar(&o.delay, "delay", 0, "time that the upstream takes for a list")
	flag.Float64Var(&o.rate, "rate", 1000, "requests a second, for -measure latency")
	flag.IntVar(&o.repeats, "repeats", 5, "repeats")
	flag.DurationVar(&o.seconds, "time", 3*time.Second, "time of one measurement")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	run, known := measurements[o.measure]
	if o.role != "" {
		run, known = roles[o.role]
	}
	err := fmt.Errorf("unknown -measure %q or -role %q", o.measure, o.role)
	if known {
		err = run(ctx, o)
	}
	stop()
	killStarted()
	if err != nil {
		fmt.Fprintln(os.Stderr, "overhead:", err)
		os.Exit(1)
	}
}

// spread returns lowest – median – highest.
func spread(all []float64, format string) string {
	slices.Sort(all)
	return fmt.Sprintf(format+" – "+format+" – "+format, all[0], all[len(all)/2], all[len(all)-1])
}
