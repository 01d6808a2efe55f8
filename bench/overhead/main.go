// Command overhead measures what the proxy costs against a bare gRPC server with
// the same messages: requests a second and CPU time of the serving process alone,
// for unary calls and streams, before an upstream that answers a correct list at
// once. Every server is a process of its own; measurements are interleaved and
// repeated, and reported as ratios (lowest – median – highest).
//
//	go run ./bench/overhead
//
// CPU time is read from /proc (Linux).
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "paceline/proto/paceline/v1"
	"paceline/proxy/server"
)

type options struct {
	role, upstream, profile string

	callers, bytes, size, inFlight, repeats int
	seconds                                 time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.role, "role", "", "what a process of the measurement does; empty: all of them")
	flag.StringVar(&o.upstream, "upstream", "", "the proxy's upstream")
	flag.StringVar(&o.profile, "cpuprofile", "", "`file` for a CPU profile of the proxy")
	flag.IntVar(&o.callers, "callers", 64, "callers at once")
	flag.IntVar(&o.bytes, "bytes", 8192, "bytes of a prompt, source code")
	flag.IntVar(&o.size, "batch-size", 16, "batch size")
	flag.IntVar(&o.inFlight, "max-in-flight", 2, "batches in flight")
	flag.IntVar(&o.repeats, "repeats", 5, "repeats")
	flag.DurationVar(&o.seconds, "time", 3*time.Second, "time of one measurement")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := map[string]func(context.Context, options) error{"": measure, "upstream": upstream, "echo": echo, "proxy": proxy}[o.role](ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "overhead:", err)
		os.Exit(1)
	}
}

// upstream answers every list at once, like an SGLang that takes no time, with the
// KV pool of a model of 7 billion parameters on 80 GB.
func upstream(ctx context.Context, _ options) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/ready", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/server_info", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"version":"none","max_req_input_len":1000000,"max_total_num_tokens":1000000}`)
	})
	mux.HandleFunc("/generate", func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, r.ContentLength)
		if _, err := io.ReadFull(r.Body, body); err != nil {
			return
		}
		_, rids, _ := bytes.Cut(body, []byte(`"rid":["`))
		rids, _, _ = bytes.Cut(rids, []byte(`"]`))
		out := []byte{'['}
		for i, rid := range bytes.Split(rids, []byte(`","`)) {
			if i > 0 {
				out = append(out, ',')
			}
			out = append(append(append(out, `{"text":"","output_ids":[],"meta_info":{"id":"`...), rid...),
				`","finish_reason":{"type":"length","length":0},"prompt_tokens":2000,"completion_tokens":0,"cached_tokens":0}}`...)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(append(out, ']'))
	})
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // for as long as the process
	if err != nil {
		return err
	}
	s := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	context.AfterFunc(ctx, func() { _ = s.Close() })
	fmt.Println(l.Addr())
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// echoService answers with as much as the proxy, and does nothing.
type echoService struct {
	pb.UnimplementedPrefillServiceServer
}

func (echoService) Prefill(_ context.Context, r *pb.PrefillRequest) (*pb.PrefillResponse, error) {
	return &pb.PrefillResponse{
		RequestId: r.GetRequestId(), PromptTokens: 2000, FinishReason: pb.FinishReason_FINISH_REASON_LENGTH,
		Receipt: &pb.Receipt{BatchId: "0123abcd-1234", BatchSize: 16, Position: 3, ReleaseReason: pb.ReleaseReason_RELEASE_REASON_FULL, QueueWaitSeconds: 0.001, UpstreamSeconds: 0.001, Attempts: 1},
	}, nil
}

func (e echoService) PrefillStream(s grpc.BidiStreamingServer[pb.PrefillStreamRequest, pb.PrefillStreamResponse]) error {
	for {
		m, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		r, _ := e.Prefill(s.Context(), m.GetRequest())
		if err := s.Send(&pb.PrefillStreamResponse{RequestId: r.GetRequestId(), Result: &pb.PrefillStreamResponse_Response{Response: r}}); err != nil {
			return err
		}
	}
}

func echo(ctx context.Context, _ options) error {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // as above
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	pb.RegisterPrefillServiceServer(s, echoService{})
	context.AfterFunc(ctx, s.Stop)
	fmt.Println(l.Addr())
	return s.Serve(l)
}

func proxy(ctx context.Context, o options) error {
	cfg := server.DefaultConfig()
	cfg.Upstreams, cfg.Listen, cfg.HTTP, cfg.Admin = []string{o.upstream}, "127.0.0.1:0", "", ""
	cfg.Settings.BatchSize, cfg.Settings.MaxInFlight = o.size, o.inFlight
	server.CollectLess() // as the command does
	p, err := server.New(cfg)
	if err != nil {
		return err
	}
	if o.profile != "" {
		f, err := os.Create(o.profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	fmt.Println(p.Addr())
	return p.Run(ctx)
}

// child is a process of the measurement.
type child struct {
	cmd  *exec.Cmd
	addr string
}

func start(ctx context.Context, o options, role string, more ...string) (*child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := append([]string{"-role", role, "-batch-size", strconv.Itoa(o.size), "-max-in-flight", strconv.Itoa(o.inFlight)}, more...)
	cmd := exec.CommandContext(ctx, exe, args...) //nolint:gosec // itself
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	return &child{cmd, strings.TrimSpace(line)}, err
}

// cpu is the CPU time that the process has used.
func (c *child) cpu() (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	user, err := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux of today
	return time.Duration(user+system) * tick, errors.Join(err, err2)
}

// result is one measurement.
type result struct {
	rate float64       // requests/s
	cpu  time.Duration // of the server, a request
}

// kind is how requests are sent.
type kind struct {
	name string
	run  func(ctx context.Context, c pb.PrefillServiceClient, o options, prompt string, done *atomic.Int64) error
}

var kinds = []kind{{"unary", unary}, {"stream", streams}}

func measure(parent context.Context, o options) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	up, err := start(ctx, o, "upstream")
	if err != nil {
		return err
	}
	servers := map[string]*child{}
	if servers["echo"], err = start(ctx, o, "echo"); err != nil {
		return err
	}
	if servers["proxy"], err = start(ctx, o, "proxy", "-upstream", "http://"+up.addr, "-cpuprofile", o.profile); err != nil {
		return err
	}
	prompt := source(o.bytes)
	results := map[string][]result{}
	for range o.repeats {
		for _, k := range kinds {
			for _, name := range []string{"echo", "proxy"} {
				r, err := once(ctx, servers[name], k, o, prompt)
				if err != nil {
					return fmt.Errorf("%s %s: %w", name, k.name, err)
				}
				results[name+" "+k.name] = append(results[name+" "+k.name], r)
				fmt.Fprintf(os.Stderr, "%-6s %-6s %7.0f requests/s  %5.1f us CPU each\n", name, k.name, r.rate, float64(r.cpu)/float64(time.Microsecond))
			}
		}
	}
	rate := func(r result) float64 { return r.rate }
	cpu := func(r result) float64 { return float64(r.cpu) }
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, line := range []struct {
		name string
		a, b string
		of   func(result) float64
	}{
		{"proxy / echo, unary, requests/s", "proxy unary", "echo unary", rate},
		{"proxy / echo, unary, CPU a request", "proxy unary", "echo unary", cpu},
		{"proxy / echo, stream, requests/s", "proxy stream", "echo stream", rate},
		{"proxy, stream / unary, requests/s", "proxy stream", "proxy unary", rate},
	} {
		_, _ = fmt.Fprintf(w, "%s\t%s\n", line.name, ratios(results[line.a], results[line.b], line.of))
	}
	cancel()
	_ = servers["proxy"].cmd.Wait() // it was told to end, and writes its profile
	return w.Flush()
}

// ratios are the quotients of measurements made one after the other.
func ratios(a, b []result, of func(result) float64) string {
	var all []float64
	for i := range a {
		all = append(all, of(a[i])/of(b[i]))
	}
	slices.Sort(all)
	return fmt.Sprintf("%.2f – %.2f – %.2f", all[0], all[len(all)/2], all[len(all)-1])
}

// source is n bytes of something like source code.
func source(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "def method_%d(self, value, *, limit=%d):\n    \"\"\"Return the value, at most the limit.\"\"\"\n    return min(value, limit) if value > 0 else None\n\n", i, i*7)
	}
	return b.String()[:n]
}

var prompts atomic.Int64

// another is a prompt that nobody has sent before.
func another(prompt string) string { return strconv.FormatInt(prompts.Add(1), 36) + "\n" + prompt }

func once(ctx context.Context, c *child, k kind, o options, prompt string) (result, error) {
	conn, err := grpc.NewClient(c.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return result{}, err
	}
	defer conn.Close() //nolint:errcheck // nothing is left on it
	client := pb.NewPrefillServiceClient(conn)
	for { // until the proxy has found its upstream
		if _, err := client.Prefill(ctx, &pb.PrefillRequest{Text: "a"}); err == nil {
			break
		} else if ctx.Err() != nil {
			return result{}, err
		}
		time.Sleep(10 * time.Millisecond)
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	var done atomic.Int64
	ended := make(chan error, 1)
	go func() { ended <- k.run(running, client, o, prompt, &done) }()
	time.Sleep(o.seconds / 4) // warm
	before, began := done.Load(), time.Now()
	cpu, err := c.cpu()
	if err != nil {
		return result{}, err
	}
	time.Sleep(o.seconds)
	n, took := done.Load()-before, time.Since(began)
	after, err := c.cpu()
	stop()
	err = errors.Join(err, <-ended)
	if n == 0 {
		return result{}, errors.Join(err, errors.New("nothing was answered"))
	}
	return result{float64(n) / took.Seconds(), (after - cpu) / time.Duration(n)}, err
}

// unary lets callers send one request after the other.
func unary(ctx context.Context, c pb.PrefillServiceClient, o options, prompt string, done *atomic.Int64) error {
	var wg sync.WaitGroup
	var failed atomic.Value
	for range o.callers {
		wg.Go(func() {
			for ctx.Err() == nil {
				if _, err := c.Prefill(ctx, &pb.PrefillRequest{Text: another(prompt)}); err == nil {
					done.Add(1)
				} else if ctx.Err() == nil {
					failed.Store(err)
					return
				}
			}
		})
	}
	wg.Wait()
	err, _ := failed.Load().(error)
	return err
}

// streams lets one stream have as many requests open.
func streams(ctx context.Context, c pb.PrefillServiceClient, o options, prompt string, done *atomic.Int64) error {
	s, err := c.PrefillStream(ctx)
	if err != nil {
		return err
	}
	send := func(id string) error {
		return s.Send(&pb.PrefillStreamRequest{Request: &pb.PrefillRequest{RequestId: id, Text: another(prompt)}})
	}
	for i := range o.callers {
		if err := send(strconv.Itoa(i)); err != nil {
			return err
		}
	}
	for ctx.Err() == nil {
		m, err := s.Recv()
		if err == nil {
			if e := m.GetError(); e != nil {
				return fmt.Errorf("%v", e)
			}
			done.Add(1)
			err = send(m.GetRequestId())
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}
