// Command hostile measures the memory of the proxy and the latency of one good caller while
// other connections try to use the memory up. The proxy, the simulator behind it and the
// attackers are processes of their own. The attackers run at the lowest priority (nice 19)
// and send no more together than a network of -network bytes a second would carry, because
// in earnest they have cores of their own. Peak memory is read from /proc (Linux). Where
// others use the machine, chrt -r 2 before the command keeps them out of the latency, as
// root; -niced "chrt -r 1" then gives the attackers all the time that is left.
//
//	go run ./bench/hostile                            200 connections, of each attack a fifth
//	go run ./bench/hostile -attacks messages -n 40    one attack alone
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"paceline/loadgen/stats"
	pb "paceline/proto/paceline/v1"
	"paceline/sglang/sim"
)

type options struct {
	n          int
	queueBytes int64
	attacks    string
	network    float64
	niced      string
	time       time.Duration
	pause      time.Duration
	rate       float64

	role       string // of this process
	grpc, http string // of the proxy under attack
}

func main() {
	var o options
	flag.IntVar(&o.n, "n", 200, "hostile connections")
	flag.Int64Var(&o.queueBytes, "queue-bytes", 256<<20, "the proxy's queue_bytes")
	flag.StringVar(&o.attacks, "attacks", "bodies,messages,lists,ids,readers", "`names` of attacks, with commas")
	flag.Float64Var(&o.network, "network", 250e6, "bytes a second that all attackers send together")
	flag.DurationVar(&o.time, "time", 15*time.Second, "time of each of the two measurements")
	flag.DurationVar(&o.pause, "pause", time.Second, "pause of a connection before it attacks again")
	flag.Float64Var(&o.rate, "rate", 50, "requests a second of the good caller")
	flag.StringVar(&o.niced, "niced", "chrt --other 0 nice -n 19", "`command` before that of the attackers")
	flag.StringVar(&o.role, "role", "", "attack or simulate: for the processes that this command starts")
	flag.StringVar(&o.grpc, "grpc", "", "the proxy's gRPC address, for -role attack")
	flag.StringVar(&o.http, "http", "", "the proxy's HTTP address, for -role attack")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	roles := map[string]func(context.Context, options) error{"": run, "attack": attack, "simulate": simulate}
	err := roles[o.role](ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "hostile:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	p, err := start(ctx, o)
	if err != nil {
		return err
	}
	defer p.stop()
	client, hangUp, err := p.dial(ctx)
	if err != nil {
		return err
	}
	defer hangUp()
	before, failedBefore := neighbour(ctx, client, o)
	idle, err := p.peak()
	if err != nil {
		return err
	}
	attackers, err := p.attackers(ctx)
	if err != nil {
		return err
	}
	time.Sleep(time.Second) // all are at it
	during, failed := neighbour(ctx, client, o)
	_ = attackers.Process.Signal(syscall.SIGTERM) // they print what they did
	err = attackers.Wait()
	peak, peakErr := p.peak()
	if err = errors.Join(err, peakErr); err != nil {
		return err
	}
	const mib = 1 << 20
	fmt.Printf("peak resident: %d MiB (%d MiB before), queue_bytes %d MiB\n", peak/mib, idle/mib, o.queueBytes/mib)
	fmt.Printf("good caller: p99 %.1f ms without, %.1f ms with, %.2f times; failed %d and %d of %d\n",
		1000*before, 1000*during, during/before, failedBefore, failed, int(o.rate*o.time.Seconds()))
	return nil
}

// simulate is the simulator's process. It prints its URL.
func simulate(ctx context.Context, _ options) error {
	profile, err := sim.ProfileNamed("h100-qwen2.5-7b")
	if err != nil {
		return err
	}
	s, err := sim.New(sim.Options{Profile: profile})
	if err != nil {
		return err
	}
	url, err := s.Listen("127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(url)
	<-ctx.Done()
	return s.Close()
}

// neighbour sends prompts of 1 KiB at a rate and returns the p99 of their latency in seconds.
func neighbour(ctx context.Context, client pb.PrefillServiceClient, o options) (p99 float64, failed int) {
	var mu sync.Mutex
	var sample []float64
	var calls sync.WaitGroup
	for i := range int(o.rate * o.time.Seconds()) {
		calls.Go(func() {
			began := time.Now()
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			_, err := client.Prefill(ctx, &pb.PrefillRequest{Text: fmt.Sprintf("%d %s", i, strings.Repeat("def f(x): ", 100))})
			mu.Lock()
			defer mu.Unlock()
			if sample = append(sample, time.Since(began).Seconds()); err != nil {
				failed++
			}
		})
		time.Sleep(time.Duration(float64(time.Second) / o.rate))
	}
	calls.Wait()
	return stats.Percentile(sample, 99), failed
}

// process is the proxy.
type process struct {
	cmd        *exec.Cmd
	options    options
	grpc, http string
	stop       func()
}

func start(ctx context.Context, o options) (*process, error) {
	dir, err := os.MkdirTemp("", "hostile")
	if err != nil {
		return nil, err
	}
	program := filepath.Join(dir, "paceline")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, "./proxy").CombinedOutput(); err != nil { //nolint:gosec // fixed
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	simulator := exec.CommandContext(ctx, os.Args[0], "-role", "simulate") //nolint:gosec // ourselves
	said, err := simulator.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := simulator.Start(); err != nil {
		return nil, err
	}
	url, err := bufio.NewReader(said).ReadString('\n')
	if err != nil {
		return nil, err
	}
	p := &process{options: o}
	for _, addr := range []*string{&p.grpc, &p.http} { // free ports
		l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
		if err != nil {
			return nil, err
		}
		*addr = l.Addr().String()
		_ = l.Close()
	}
	p.cmd = exec.CommandContext(ctx, program, //nolint:gosec // built above
		"-upstream", strings.TrimSpace(url), "-listen", p.grpc, "-http", p.http, "-admin", "", "-metrics", "",
		"-queue-bytes", strconv.FormatInt(o.queueBytes, 10))
	p.stop = func() {
		for _, cmd := range []*exec.Cmd{p.cmd, simulator} {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		_ = os.RemoveAll(dir)
	}
	return p, p.cmd.Start()
}

// attackers starts the process of the attackers. It ends at SIGTERM.
func (p *process) attackers(ctx context.Context) (*exec.Cmd, error) {
	o := p.options
	args := append(strings.Fields(o.niced), os.Args[0], "-role", "attack", "-grpc", p.grpc, "-http", p.http,
		"-n", strconv.Itoa(o.n), "-attacks", o.attacks, "-network", fmt.Sprint(o.network), "-pause", o.pause.String())
	cmd := exec.CommandContext(ctx, args[0], args[1:]...) //nolint:gosec // ourselves
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd, cmd.Start()
}

// dial returns a client once the proxy answers it.
func (p *process) dial(ctx context.Context) (pb.PrefillServiceClient, func(), error) {
	conn, err := grpc.NewClient(p.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, nil, err
	}
	client := pb.NewPrefillServiceClient(conn)
	for range 500 {
		if _, err = client.Prefill(ctx, &pb.PrefillRequest{Text: "a"}); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return client, func() { _ = conn.Close() }, err
}

// peak returns the max resident memory of the proxy so far, in bytes.
func (p *process) peak() (uint64, error) {
	proc, err := procfs.NewProc(p.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	status, err := proc.NewStatus()
	return status.VmHWM, err
}
