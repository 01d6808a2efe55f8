// Command ids compares what a running SGLang does with prompts as text and as
// token ids, from a warm cache, where reading the request costs more than
// computing it: single texts straight to SGLang, texts through a proxy, and the
// same texts that a proxy sends as ids. Interleaved and repeated.
//
//	go run ./bench/ids -sglang URL -tokenizer tokenizer.json -problems swe_verified.jsonl -pid $(pgrep -f launch_server | head -1)
//
// Flushes the server's cache once. CPU is that of the process -pid and all below
// it (Linux).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"paceline/loadgen/prompt"
	"paceline/loadgen/stats"
	"paceline/loadgen/target"
	"paceline/loadgen/trajectory"
	pb "paceline/proto/paceline/v1"
	"paceline/proxy/server"
	"paceline/proxy/upstream"
	"paceline/sglang"
)

type options struct {
	sglang, tokenizer, problems, system, instance string

	n, callers, repeats, size, inFlight, pid int
}

func main() {
	var o options
	flag.StringVar(&o.sglang, "sglang", "http://127.0.0.1:30000", "`URL` of SGLang")
	flag.StringVar(&o.tokenizer, "tokenizer", upstream.TokenizerAuto, "tokenizer.json `file` of its model")
	flag.StringVar(&o.problems, "problems", "", "`file` of problems (default: generated ones)")
	flag.StringVar(&o.system, "system", "", "system prompt `file`")
	flag.StringVar(&o.instance, "instance", "", "instance prompt `file`")
	flag.IntVar(&o.n, "n", 500, "prompts")
	flag.IntVar(&o.callers, "callers", 64, "callers at once")
	flag.IntVar(&o.repeats, "repeats", 5, "how often each is measured")
	flag.IntVar(&o.size, "batch-size", 16, "batch size of the proxies")
	flag.IntVar(&o.inFlight, "max-in-flight", 2, "batches in flight of the proxies")
	flag.IntVar(&o.pid, "pid", 0, "SGLang's process, to tell its CPU time; 0 does not")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "ids:", err)
		os.Exit(1)
	}
}

// way is one way to send.
type way struct {
	name   string
	sender target.Sender
	rate   []float64 // prompts a second
	cpu    []float64 // SGLang's milliseconds a prompt
	cached []float64 // share of tokens
}

func run(ctx context.Context, o options) error {
	prompts, err := prompts(o)
	if err != nil {
		return err
	}
	client, err := sglang.NewClient(o.sglang, sglang.Options{})
	if err != nil {
		return err
	}
	direct := &target.Direct{Client: client}
	ways := []*way{{name: "text, direct", sender: direct}}
	for _, p := range []struct{ name, tokenizer, want string }{
		{"text, through the proxy", upstream.TokenizerNone, "as texts"}, {"ids, through the proxy", o.tokenizer, "as token ids"},
	} {
		sender, stop, err := startProxy(ctx, o, p.tokenizer, p.want)
		if err != nil {
			return err
		}
		defer stop()
		ways = append(ways, &way{name: p.name, sender: sender})
	}
	if err := direct.Flush(ctx, 30*time.Second); err != nil {
		return err
	}
	for round := range o.repeats + 1 { // the first warms the cache
		for _, w := range ways {
			if err := w.measure(ctx, o, prompts, round > 0); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
		}
	}
	return print(ways, o)
}

func prompts(o options) ([]target.Prompt, error) {
	template, err := prompt.Load(o.system, o.instance)
	if err != nil {
		return nil, err
	}
	all := trajectory.Generate(o.n, 1)
	if o.problems != "" {
		if all, err = trajectory.ReadProblems(o.problems); err != nil {
			return nil, err
		}
	}
	var out []target.Prompt
	for _, t := range all[:min(o.n, len(all))] {
		out = append(out, target.Prompt{ID: t.ID, Text: prompt.Render(prompt.Qwen25, template.FirstTurn(t.Problem, t.MaxSteps))})
	}
	return out, nil
}

// startProxy starts an embedded proxy that only batches.
func startProxy(ctx context.Context, o options, tokenizer, want string) (*target.Proxy, func(), error) {
	cfg := server.DefaultConfig()
	cfg.Upstream.URL, cfg.Listen, cfg.HTTP, cfg.Admin, cfg.Metrics, cfg.Upstream.Tokenizer = o.sglang, "127.0.0.1:0", "", "127.0.0.1:0", "", tokenizer
	cfg.Settings.BatchSize, cfg.Settings.MaxInFlight = o.size, o.inFlight
	cfg.Settings.PrefixOrder, cfg.Settings.MergeIdentical = false, false
	running, err := server.New(cfg)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- running.Run(ctx) }()
	p, err := target.DialProxy(running.Addr(), running.AdminAddr(), target.Access{})
	if err != nil {
		cancel()
		return nil, nil, errors.Join(err, <-ended)
	}
	stop := func() {
		cancel()
		if err := errors.Join(<-ended, p.Close()); err != nil {
			fmt.Fprintln(os.Stderr, "ids: the proxy:", err)
		}
	}
	var st *pb.GetStatusResponse
	for range 100 {
		if st, err = p.Status(ctx); err == nil && st.GetReady() {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if sent := st.GetUpstream().GetTextsSent(); !strings.HasPrefix(sent, want) {
		stop()
		return nil, nil, fmt.Errorf("a proxy sends %q, expected %s", sent, want)
	}
	return p, stop, nil
}

// measure sends all prompts once.
func (w *way) measure(ctx context.Context, o options, prompts []target.Prompt, keep bool) error {
	var (
		next              atomic.Int64
		tokens, cached    atomic.Int64
		callers           sync.WaitGroup
		failed            = make(chan error, o.callers)
		cpuBefore, before = cpuTime(o.pid), time.Now()
	)
	for range o.callers {
		callers.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(prompts); i = next.Add(1) - 1 {
				a, err := w.sender.Send(ctx, prompts[i])
				if err != nil {
					failed <- err
					return
				}
				tokens.Add(int64(a.PromptTokens))
				cached.Add(int64(a.CachedTokens))
			}
		})
	}
	callers.Wait()
	took, cpu := time.Since(before), cpuTime(o.pid)-cpuBefore
	select {
	case err := <-failed:
		return err
	default:
	}
	if keep {
		w.rate = append(w.rate, float64(len(prompts))/took.Seconds())
		w.cpu = append(w.cpu, 1e3*cpu.Seconds()/float64(len(prompts)))
		w.cached = append(w.cached, float64(cached.Load())/float64(tokens.Load()))
	}
	return nil
}

// ticks is how many of its units /proc counts in a second: 100 on every Linux.
const ticks = 100

// cpuTime is the CPU time so far of a process and all below it, or 0.
func cpuTime(root int) time.Duration {
	if root == 0 {
		return 0
	}
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	parent, used := map[int]int{}, map[int]int{}
	for _, file := range files {
		data, err := os.ReadFile(file) //nolint:gosec // of /proc
		if err != nil {
			continue // it ended
		}
		_, rest, _ := strings.Cut(string(data), ") ") // the name may hold spaces
		f := strings.Fields(rest)
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if len(f) > 12 {
			user, _ := strconv.Atoi(f[11])
			system, _ := strconv.Atoi(f[12])
			parent[pid], _ = strconv.Atoi(f[1])
			used[pid] = user + system
		}
	}
	sum := 0
	for pid := range used {
		for p, ok := pid, true; ok && p > 1; p, ok = parent[p] {
			if p == root {
				sum += used[pid]
				break
			}
		}
	}
	return time.Duration(sum) * time.Second / ticks
}

func print(ways []*way, o options) error {
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "sent\tprompts/s\trange\tagainst the first\tSGLang CPU ms/prompt\trange\tcached\t(%d repeats)\n", o.repeats) //nolint:errcheck // flushed with its error
	for _, w := range ways {
		var ratios []float64 // of one round each
		for i, r := range w.rate {
			ratios = append(ratios, r/ways[0].rate[i])
		}
		fmt.Fprintf(out, "%s\t%.1f\t%.1f – %.1f\t%.2f (%.2f – %.2f)\t%.1f\t%.1f – %.1f\t%.3f\n", w.name, //nolint:errcheck // likewise
			stats.Median(w.rate), slices.Min(w.rate), slices.Max(w.rate),
			stats.Median(ratios), slices.Min(ratios), slices.Max(ratios),
			stats.Median(w.cpu), slices.Min(w.cpu), slices.Max(w.cpu), stats.Median(w.cached))
	}
	return out.Flush()
}
