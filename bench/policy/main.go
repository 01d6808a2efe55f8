// Command policy compares the cost and gain of the batcher's policies. It sends prompts that
// share much or little through an embedded proxy, to the simulator or a running SGLang, once
// for each policy, interleaved and repeated.
//
//	go run ./bench/policy                                 simulated H100
//	go run ./bench/policy -sglang http://127.0.0.1:30000  a running SGLang
//
// "computed/distinct" is the number of tokens that the server computed, by its own count,
// divided by the min possible number: 1.00 shares everything. The command flushes the
// server's cache.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"paceline/loadgen/stats"
	"paceline/loadgen/target"
	pb "paceline/proto/paceline/v1"
	"paceline/proxy/server"
	"paceline/sglang/sim"
)

// policies has the compared settings, as changes of the proxy's defaults.
var policies = map[string]func(*target.Settings){
	"fifo":   func(s *target.Settings) { s.Share, s.MergeIdentical = pb.Share_SHARE_OFF, false },
	"prefix": func(s *target.Settings) { s.MergeIdentical = false },
	"merge":  func(s *target.Settings) { s.Share = pb.Share_SHARE_OFF },
	"both":   func(*target.Settings) {},
}

type options struct {
	sglang, profile, workloads, policies string

	speed                   float64
	repeats, size, inFlight int
}

func main() {
	var o options
	flag.StringVar(&o.sglang, "sglang", "", "`URL` of a running SGLang (default: the simulator)")
	flag.StringVar(&o.profile, "sim-profile", "h100-qwen2.5-7b", "simulated server")
	flag.Float64Var(&o.speed, "sim-speed", 3, "simulated seconds per real second")
	flag.IntVar(&o.repeats, "repeats", 3, "how often each policy is measured")
	flag.IntVar(&o.size, "batch-size", 16, "batch size")
	flag.IntVar(&o.inFlight, "max-in-flight", 2, "batches in flight")
	flag.StringVar(&o.workloads, "workloads", "a,b,c,d,e,f",
		"a: first turns, b: rollouts, c: multi-turn, d: few callers, e: short pairs, f: the same of two callers")
	flag.StringVar(&o.policies, "policies", "fifo,prefix,merge,both", "policies to compare, separated by commas")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "policy:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	names := strings.Split(o.policies, ",")
	for _, name := range names {
		if policies[name] == nil {
			return fmt.Errorf("-policies: unknown %q", name)
		}
	}
	for letter := range strings.SplitSeq(o.workloads, ",") {
		load := workloads[letter]
		if load == nil {
			return fmt.Errorf("-workloads: unknown %q", letter)
		}
		if err := compare(ctx, load(), names, o); err != nil {
			return err
		}
	}
	return nil
}

// compare measures one workload with every policy.
func compare(ctx context.Context, w workload, names []string, o options) error {
	distinct := w.distinct()
	url, speed := o.sglang, 1.0
	if url == "" {
		profile, err := sim.ProfileNamed(o.profile)
		if err != nil {
			return err
		}
		if w.callers == 0 { // multi-turn, which a cache of this size can't hold
			profile.KVCacheTokens = distinct / 4
		}
		s, err := sim.New(sim.Options{Profile: profile, Speed: o.speed})
		if err != nil {
			return err
		}
		defer s.Close() //nolint:errcheck // a simulator has nothing to lose
		if url, err = s.Listen("127.0.0.1:0"); err != nil {
			return err
		}
		speed = o.speed
	}
	p, err := startProxy(ctx, url, o, speed)
	if err != nil {
		return err
	}
	defer p.stop()
	all := map[string][]measured{}
	for range o.repeats {
		for _, name := range names {
			s := p.plain
			policies[name](&s)
			m, err := p.measure(ctx, w, s)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", w.name, name, err)
			}
			all[name] = append(all[name], m)
		}
	}
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(out, "\n%s: %s; %d prompts, %d distinct tokens\n", w.name, w.what, len(w.prompts), distinct)
	_, _ = fmt.Fprintln(out, "policy\tcomputed/distinct\tprompts/s\trange\tp50 s\tp99 s\tbatch")
	for _, name := range names {
		runs := all[name]
		printRow(out, name, runs, distinct, speed)
	}
	return out.Flush()
}

func printRow(out *tabwriter.Writer, name string, runs []measured, distinct int, speed float64) {
	var rate, computed, p50, p99, size []float64
	for _, m := range runs {
		rate, size = append(rate, float64(len(m.latency))/m.wall.Seconds()/speed), append(size, m.size)
		latency := stats.Summarize(m.latency)
		p50, p99 = append(p50, speed*latency.P50), append(p99, speed*latency.P99)
		computed = append(computed, float64(m.computed)/float64(distinct))
	}
	low, high := stats.Range(rate)
	_, _ = fmt.Fprintf(out, "%s\t%.2f\t%.1f\t%.1f – %.1f\t%.2f\t%.2f\t%.1f\n", name,
		stats.Median(computed), stats.Median(rate), low, high, stats.Median(p50), stats.Median(p99), stats.Median(size))
}

// proxy is an embedded proxy with its clients.
type proxy struct {
	plain   target.Settings // the settings that the policies change
	control *target.Proxy
	prefill pb.PrefillServiceClient // for token ids, which target does not send
	stop    func()
}

func startProxy(ctx context.Context, url string, o options, speed float64) (*proxy, error) {
	cfg := server.DefaultConfig()
	cfg.Upstream.URL, cfg.Listen, cfg.HTTP, cfg.Admin, cfg.Metrics = url, "127.0.0.1:0", "", "127.0.0.1:0", ""
	cfg.Upstream.VocabSize = 151_936
	s := &cfg.Settings
	s.BatchSize, s.MaxInFlight = o.size, o.inFlight
	s.MaxWait = time.Duration(float64(s.MaxWait) / speed)
	s.MaxAge = time.Duration(float64(s.MaxAge) / speed)
	running, err := server.New(cfg)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- running.Run(ctx) }()
	p := &proxy{}
	data, dataErr := grpc.NewClient(running.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
	control, controlErr := target.DialProxy(running.Addr(), running.AdminAddr(), target.Access{})
	if err := errors.Join(dataErr, controlErr); err != nil {
		cancel()
		return nil, errors.Join(err, <-ended)
	}
	p.prefill, p.control = pb.NewPrefillServiceClient(data), control
	p.stop = func() {
		_, _ = data.Close(), control.Close() // no call is under way
		cancel()
		if err := <-ended; err != nil {
			fmt.Fprintln(os.Stderr, "policy: the proxy:", err)
		}
	}
	for range 100 {
		if st, err := control.Status(ctx); err == nil && st.GetReady() {
			p.plain, err = control.CurrentSettings(ctx)
			return p, err
		}
		time.Sleep(50 * time.Millisecond)
	}
	p.stop()
	return nil, errors.New("the proxy is not ready")
}

// measured is the result of one pass, in real time.
type measured struct {
	wall     time.Duration
	latency  []float64 // seconds
	computed int       // tokens
	size     float64   // prompts per batch
}

// measure sends the workload once with a cold cache.
func (p *proxy) measure(ctx context.Context, w workload, s target.Settings) (measured, error) {
	if err := p.control.Apply(ctx, s); err != nil {
		return measured{}, err
	}
	if err := p.control.Flush(ctx, 30*time.Second); err != nil {
		return measured{}, err
	}
	var (
		mu      sync.Mutex
		m       measured
		failure error
		batches = map[string]int{}
		counted = map[string]bool{} // by place in a batch: several callers may have one prompt
		next    atomic.Int64
		callers sync.WaitGroup
	)
	send := func(i int) {
		start := time.Now()
		reply, err := p.prefill.Prefill(ctx, &pb.PrefillRequest{TokenIds: w.prompts[i]})
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			failure = err
			return
		}
		m.latency = append(m.latency, time.Since(start).Seconds())
		r := reply.GetReceipt()
		batches[r.GetBatchId()] = int(r.GetBatchSize())
		if place := fmt.Sprint(r.GetBatchId(), " ", r.GetPosition()); !counted[place] {
			counted[place] = true
			m.computed += int(reply.GetPromptTokens() - reply.GetCachedTokens())
		}
	}
	start := time.Now()
	for range cmp.Or(w.callers, len(w.prompts)) {
		callers.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(w.prompts); i = next.Add(1) - 1 {
				send(int(i))
			}
		})
	}
	callers.Wait()
	m.wall = time.Since(start)
	for _, size := range batches {
		m.size += float64(size) / float64(len(batches))
	}
	return m, failure
}
