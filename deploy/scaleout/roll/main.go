// Command roll replaces real proxy processes one after another while callers send, and
// counts what failed:
//
//	go run ./deploy/scaleout/roll                       round robin with health checks
//	go run ./deploy/scaleout/roll -config ""            clients that know nothing of health
//	go run ./deploy/scaleout/roll -in-place             each at the address of the one before
//
// It is run from the root of the repository. Each proxy has a simulated SGLang; clients
// have no retries. Exit status 1: a request failed, or a proxy did not end with status 0.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/balancer/ringhash"           // for consistent-hash.json
	_ "google.golang.org/grpc/balancer/weightedroundrobin" // for weighted.json
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/health" // for healthCheckConfig
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"

	"paceline/deploy/scaleout"
	"paceline/deploy/scaleout/pods"
	pb "paceline/proto/paceline/v1"
	"paceline/sglang/sim"
)

type options struct {
	proxies, rounds, callers int
	config                   string
	inPlace                  bool
	delay                    time.Duration
	speed                    float64
}

func main() {
	var o options
	flag.IntVar(&o.proxies, "proxies", 3, "proxies behind the name")
	flag.IntVar(&o.rounds, "rounds", 3, "how often all are replaced")
	flag.IntVar(&o.callers, "callers", 32, "callers that send one prompt after the other")
	flag.StringVar(&o.config, "config", "round-robin", "service configuration of the clients: round-robin, weighted or consistent-hash; empty for round robin without health checks")
	flag.BoolVar(&o.inPlace, "in-place", false, "start each new proxy at the address of the old one, once that has ended; else at another one, before the old one is asked to end")
	flag.DurationVar(&o.delay, "drain-delay", 0, "of the proxies")
	flag.Float64Var(&o.speed, "sim-speed", 20, "simulated seconds per real second")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "roll:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "paceline-roll-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // what is left is small, and in the temporary folder
	binary := filepath.Join(dir, "proxy")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "./proxy")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build the proxy (from the root of the repository): %w", err)
	}
	r := &roll{options: o, binary: binary, names: manual.NewBuilderWithScheme("proxies")}
	defer r.killAll()
	for range o.proxies {
		p, err := r.start(ctx, "127.0.0.1:0")
		if err != nil {
			return err
		}
		r.serving = append(r.serving, p)
	}
	conn, err := r.dial()
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // all has been answered
	load := r.send(ctx, pb.NewPrefillServiceClient(conn))
	err = r.replaceAll(ctx)
	load.stop()
	fmt.Printf("%d proxies replaced, one after another: %d requests answered, %d failed\n", r.replaced, load.answered.Load(), load.failed.Load())
	if first := load.first.Load(); err == nil && first != nil {
		err = fmt.Errorf("the first that failed: %w", *first)
	}
	return err
}

// roll is a rolling restart under way.
type roll struct {
	options

	binary   string
	names    *manual.Resolver
	serving  []*process // behind the name
	started  []*process // all
	replaced int
}

func (r *roll) dial() (*grpc.ClientConn, error) {
	config := `{"loadBalancingConfig": [{"round_robin": {}}]}`
	if r.config != "" {
		var err error
		if config, err = scaleout.ServiceConfig(r.config); err != nil {
			return nil, fmt.Errorf("-config: must be round-robin, weighted, consistent-hash or empty, got %q", r.config)
		}
	}
	r.names.InitialState(r.state())
	conn, err := grpc.NewClient("proxies:///paceline", grpc.WithResolvers(r.names), grpc.WithDisableRetry(),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultServiceConfig(config))
	if err == nil {
		conn.Connect()
	}
	return conn, err
}

func (r *roll) state() (s resolver.State) {
	for _, p := range r.serving {
		s.Endpoints = append(s.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: p.addr}}})
	}
	return s
}

// settle is time in which the name's clients send undisturbed.
const settle = 500 * time.Millisecond

func (r *roll) replaceAll(ctx context.Context) error {
	for range r.rounds * r.proxies {
		if err := pauseFor(ctx, settle); err != nil {
			return err
		}
		if err := r.replaceOldest(ctx); err != nil {
			return err
		}
		r.replaced++
	}
	return pauseFor(ctx, settle)
}

func pauseFor(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *roll) replaceOldest(ctx context.Context) error {
	oldest := r.serving[0]
	if r.inPlace {
		if err := oldest.terminate(); err != nil {
			return err
		}
		p, err := r.start(ctx, oldest.addr)
		if err == nil {
			r.serving = append(r.serving[1:], p)
		}
		return err
	}
	p, err := r.start(ctx, "127.0.0.1:0")
	if err != nil {
		return err
	}
	r.serving = append(r.serving, p)
	r.names.UpdateState(r.state())
	if err := oldest.terminate(); err != nil {
		return err
	}
	r.serving = r.serving[1:] // only now: names are always late
	r.names.UpdateState(r.state())
	return nil
}

// load is what callers have sent.
type load struct {
	answered, failed atomic.Int64
	first            atomic.Pointer[error] // that failed
	stop             func()                // and waits
}

func (r *roll) send(ctx context.Context, client pb.PrefillServiceClient) *load {
	l := &load{}
	var (
		sending sync.WaitGroup
		enough  atomic.Bool
		next    atomic.Int32
	)
	for range r.callers {
		sending.Go(func() {
			for !enough.Load() && ctx.Err() == nil {
				i := next.Add(1)
				_, err := client.Prefill(ctx, &pb.PrefillRequest{TokenIds: []int32{i % 100_000, i / 100_000, 7, 8}})
				switch {
				case err == nil:
					l.answered.Add(1)
				case ctx.Err() == nil:
					l.failed.Add(1)
					told := status.Convert(err).Err()
					l.first.CompareAndSwap(nil, &told)
				}
			}
		})
	}
	l.stop = func() { enough.Store(true); sending.Wait() }
	return l
}

func (r *roll) killAll() {
	for _, p := range r.started {
		p.kill()
	}
}

// start runs a proxy process before a simulator of its own.
func (r *roll) start(ctx context.Context, addr string) (*process, error) {
	s, err := sim.New(sim.Options{Profile: sim.Profiles()[0], Speed: r.speed})
	if err != nil {
		return nil, err
	}
	url, err := s.Listen("127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &process{simulator: s, ended: make(chan struct{})}
	r.started = append(r.started, p)
	if p.addr, err = freeAddress(ctx, addr); err != nil {
		return nil, err
	}
	p.cmd = exec.CommandContext(context.WithoutCancel(ctx), r.binary, "-upstream", url, "-listen", p.addr, "-http", "", "-admin", "", "-metrics", "",
		"-vocab-size", "150000", "-drain-delay", r.delay.String())
	p.cmd.Env = append(os.Environ(), "OTEL_SDK_DISABLED=true")
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { defer close(p.ended); p.err = p.cmd.Wait() }()
	return p, pods.Ready(ctx, p.addr)
}
