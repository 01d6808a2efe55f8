// Command hostile measures the memory of the proxy and the latency of one good caller while
// other connections try to use the memory up. The proxy is its own program and process, in
// front of the simulator. The attacks share the cores with both. Peak memory is read from
// /proc (Linux).
//
//	go run ./bench/hostile                            200 connections, of each attack a fifth
//	go run ./bench/hostile -attacks messages -n 40    one attack alone
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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
	time       time.Duration
	pause      time.Duration
	rate       float64
}

func main() {
	var o options
	flag.IntVar(&o.n, "n", 200, "hostile connections")
	flag.Int64Var(&o.queueBytes, "queue-bytes", 256<<20, "the proxy's queue_bytes")
	flag.StringVar(&o.attacks, "attacks", "bodies,messages,lists,ids,readers", "`names` of attacks, with commas")
	flag.DurationVar(&o.time, "time", 15*time.Second, "time of each of the two measurements")
	flag.DurationVar(&o.pause, "pause", time.Second, "pause of a connection before it attacks again")
	flag.Float64Var(&o.rate, "rate", 50, "requests a second of the good caller")
	flag.Parse()
	if err := run(context.Background(), o); err != nil {
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
	attacking, end := context.WithTimeout(ctx, o.time+time.Second)
	defer end()
	var running sync.WaitGroup
	names := strings.Split(o.attacks, ",")
	tries := make([]atomic.Int64, len(names))
	for i := range o.n {
		name := names[i%len(names)]
		attack := attacks[name]
		if attack == nil {
			return fmt.Errorf("unknown attack %q", name)
		}
		running.Go(func() {
			for attacking.Err() == nil {
				attack(attacking, p)
				tries[i%len(names)].Add(1)
				select {
				case <-attacking.Done():
				case <-time.After(o.pause):
				}
			}
		})
	}
	time.Sleep(time.Second) // all are at it
	during, failed := neighbour(ctx, client, o)
	running.Wait()
	peak, err := p.peak()
	if err != nil {
		return err
	}
	for i, name := range names {
		fmt.Printf("%s: %d tries\n", name, tries[i].Load())
	}
	const mib = 1 << 20
	fmt.Printf("peak resident: %d MiB (%d MiB before), queue_bytes %d MiB\n", peak/mib, idle/mib, o.queueBytes/mib)
	fmt.Printf("good caller: p99 %.1f ms without, %.1f ms with, %.2f times; failed %d and %d of %d\n",
		1000*before, 1000*during, during/before, failedBefore, failed, int(o.rate*o.time.Seconds()))
	return nil
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
	profile, err := sim.ProfileNamed("h100-qwen2.5-7b")
	if err != nil {
		return nil, err
	}
	s, err := sim.New(sim.Options{Profile: profile})
	if err != nil {
		return nil, err
	}
	url, err := s.Listen("127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &process{}
	for _, addr := range []*string{&p.grpc, &p.http} { // free ports
		l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
		if err != nil {
			return nil, err
		}
		*addr = l.Addr().String()
		_ = l.Close()
	}
	p.cmd = exec.CommandContext(ctx, program, //nolint:gosec // built above
		"-upstream", url, "-listen", p.grpc, "-http", p.http, "-admin", "", "-metrics", "", "-queue-bytes", strconv.FormatInt(o.queueBytes, 10))
	p.stop = func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		_ = s.Close()
		_ = os.RemoveAll(dir)
	}
	return p, p.cmd.Start()
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

// attacks run until the proxy ends them, or ctx does.
var attacks = map[string]func(context.Context, *process){
	"bodies": func(ctx context.Context, p *process) { // a body of 60 MiB stops after 20
		p.post(ctx, "/generate", `{"text":"`, "x", 20<<20, 60<<20)
	},
	"lists": func(ctx context.Context, p *process) {
		const n = 500_000
		p.post(ctx, "/generate", `{"sampling_params":{"max_new_tokens":0},"text":["a"`, `,"a"`, 4*n, 0)
	},
	"ids": func(ctx context.Context, p *process) {
		p.post(ctx, "/v1/completions", `{"model":"m","prompt":[1`, ",1", 60<<20, 0)
	},
	"messages": func(ctx context.Context, p *process) { // two messages of 30 MiB, of which 20 arrive
		conn, err := grpc.NewClient("passthrough:///"+p.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
				c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
				return &cutConn{c, 20 << 20}, err
			}))
		if err != nil {
			return
		}
		defer conn.Close() //nolint:errcheck // nothing is lost
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var calls sync.WaitGroup
		request := &pb.PrefillRequest{Text: zeros}
		for range 2 {
			calls.Go(func() {
				_, _ = pb.NewPrefillServiceClient(conn).Prefill(ctx, request)
				cancel()
			})
		}
		calls.Wait()
	},
	"readers": func(ctx context.Context, p *process) { // a stream that is never read
		conn, err := grpc.NewClient(p.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return
		}
		defer conn.Close() //nolint:errcheck // nothing is lost
		s, err := pb.NewPrefillServiceClient(conn).PrefillStream(ctx)
		for i := 0; err == nil; i++ {
			err = s.Send(&pb.PrefillStreamRequest{Request: &pb.PrefillRequest{RequestId: strconv.Itoa(i), Text: "", CacheSalt: zeros[:1<<10]}})
		}
		<-ctx.Done()
	},
}

var zeros = strings.Repeat("0", 30<<20)

// cutConn loses what is written after so many bytes.
type cutConn struct {
	net.Conn
	left int
}

func (c *cutConn) Write(p []byte) (int, error) {
	n := min(c.left, len(p))
	c.left -= n
	if _, err := c.Conn.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}

// post sends a body that begins so and goes on with so many bytes of part. It then waits for
// the end of the connection. A length of 0 is that of the body.
func (p *process) post(ctx context.Context, path, begin, part string, bytes, length int) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.http)
	if err != nil {
		return
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	defer conn.Close() //nolint:errcheck // nothing is lost
	end := ""
	if length == 0 {
		end = "]}"
		length = len(begin) + bytes + len(end)
	}
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", path, length, begin)
	chunk := []byte(strings.Repeat(part, (64<<10)/len(part)))
	for err == nil && bytes > 0 {
		n := min(bytes, len(chunk))
		_, err = conn.Write(chunk[:n])
		bytes -= n
	}
	_, _ = io.WriteString(conn, end)
	_, _ = io.Copy(io.Discard, conn)
}
