// Command soak runs the proxy for an hour under everything at once, and says whether it held:
// each path of docs/batching.md, bad prompts, cancels, deadlines and streams that nobody reads,
// at a low steady rate; an SGLang that is killed ten times and that at times fails, closes
// connections or is slow; and a proxy that is stopped (SIGTERM) and started again five times.
//
//	go run ./bench/soak                   an hour
//	go run ./bench/soak -time 3m          the same in three minutes, too short a life to compare its thirds
//
// SGLang is the simulator. It and the proxy are processes of their own, one pair for a model
// that generates and one for a model that embeds. Each answer is compared with that of a third
// simulator, in this process, to the same request alone. So an answer that was lost, came twice
// or is another's is found. A client tries again what was refused, as one of a drained server
// does, and nothing else.
//
// It prints a line for each pair each minute, and a verdict at the end:
//
//   - each sample of a proxy's counters obeys accepted = answered + failed + cancelled + waiting + in flight, and
//     the counters with which it ends obey accepted = answered + failed + cancelled;
//   - at the end nothing waits, is held or counts bytes;
//   - requests fail only while SGLang is made to fail, and those that are batched not even while it is away;
//   - each proxy ends with exit status 0;
//   - in the last third of each long life of a proxy its memory, goroutines and descriptors are those of the first, by
//     their lower quartiles.
//
// The exit status is 1 if one of these is not so. Memory and descriptors are read from /proc (Linux).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

type options struct {
	time     time.Duration
	rate     float64
	restarts int // of SGLang
	drains   int // of the proxy
	dir      string

	role, addr string // of a process that this command starts
	embeds     bool
	began      int64 // Unix nanoseconds
}

func main() {
	var o options
	flag.DurationVar(&o.time, "time", time.Hour, "how long to send")
	flag.Float64Var(&o.rate, "rate", 20, "requests a second; a quarter of them embeds or classifies")
	flag.IntVar(&o.restarts, "restarts", 10, "how often each SGLang is killed")
	flag.IntVar(&o.drains, "drains", 5, "how often each proxy is stopped: once in the middle, the others at the beginning")
	flag.StringVar(&o.dir, "dir", "", "`folder` for the logs of the proxies; empty: a temporary one")
	flag.StringVar(&o.role, "role", "", "simulate: for the processes that this command starts")
	flag.StringVar(&o.addr, "addr", "", "address, for -role simulate")
	flag.BoolVar(&o.embeds, "embeds", false, "a model that embeds, for -role simulate")
	flag.Int64Var(&o.began, "began", 0, "when the soak began, for -role simulate")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	run := soak
	if o.role == "simulate" {
		run = simulate
	}
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func soak(ctx context.Context, o options) error {
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "soak")
		if err != nil {
			return err
		}
		o.dir = dir
	}
	program := filepath.Join(o.dir, "proxy")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, "./proxy").CombinedOutput(); err != nil { //nolint:gosec // fixed
		return fmt.Errorf("%w: %s", err, out)
	}
	fmt.Println("logs of the proxies:", o.dir)
	o.began = time.Now().UnixNano()
	var running sync.WaitGroup
	var errs [2]error
	for i, p := range []*pair{
		{options: o, name: "generates", kinds: generating(), program: program, rate: o.rate * 3 / 4},
		{options: o, name: "embeds", kinds: embedding(), program: program, rate: o.rate / 4},
	} {
		p.embeds = i == 1
		running.Go(func() {
			if err := p.run(ctx); err != nil {
				errs[i] = fmt.Errorf("%s: %w", p.name, err)
			}
		})
	}
	running.Wait()
	err := errors.Join(errs[:]...)
	if err == nil {
		fmt.Println("verdict: it held")
	}
	return err
}

// run runs one pair from its start to its verdict.
func (p *pair) run(ctx context.Context) error {
	if err := p.open(); err != nil {
		return err
	}
	defer p.close()
	ctx, stop := context.WithTimeout(ctx, p.time)
	defer stop()
	var running sync.WaitGroup
	running.Go(func() { p.load(ctx) })
	running.Go(func() { p.watch(ctx) })
	every := p.time / time.Duration(p.restarts)
	running.Go(func() {
		for i := range p.restarts {
			if !p.until(ctx, every*time.Duration(2*i+1)/2) {
				return
			}
			p.restartSGLang(time.Second + rand.N(min(every/6, 9*time.Second)))
		}
	})
	running.Go(func() {
		for i := range p.drains {
			at := p.time / 30 * time.Duration(i+1)
			if i == p.drains-1 {
				at = p.time / 2
			}
			if !p.until(ctx, at) {
				return
			}
			p.restartProxy(ctx)
		}
	})
	running.Wait()
	return p.verdict()
}

// until waits for a time since the beginning. It returns false if ctx ends first.
func (p *pair) until(ctx context.Context, at time.Duration) bool {
	timer := time.NewTimer(time.Until(time.Unix(0, p.began).Add(at)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
