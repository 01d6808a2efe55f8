package sweep

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"paceline/loadgen/target"
	pb "paceline/proto/paceline/v1"
)

// instant is a proxy that answers at once.
type instant struct {
	pb.UnimplementedPrefillServiceServer
}

var instantReply = &pb.PrefillResponse{PromptTokens: 7, Receipt: &pb.Receipt{BatchId: "b-1", BatchSize: 1}}

func (instant) Prefill(context.Context, *pb.PrefillRequest) (*pb.PrefillResponse, error) {
	return instantReply, nil
}

// nothing is a target.Sender without a network: only the sending path remains.
type nothing struct{}

func (nothing) Send(context.Context, target.Prompt) (target.Answer, error) {
	return target.Answer{PromptTokens: 7}, nil
}

// serveInstant answers on a loopback port of the system's choice until the process or
// stop ends it.
func serveInstant() (addr string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	s := grpc.NewServer()
	pb.RegisterPrefillServiceServer(s, instant{})
	go func() { _ = s.Serve(l) }()
	return l.Addr().String(), s.Stop, nil
}

// inAnotherProcess serves there, so that this process's CPU time is loadgen's alone.
func inAnotherProcess(b *testing.B) string {
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), serveVariable+"=1")
	in, err := cmd.StdinPipe() // its end ends the server
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(addr)
}

const serveVariable = "PACELINE_TEST_SERVE_INSTANT"

// serveAsChild is this test binary's other life; see inAnotherProcess.
func serveAsChild() {
	addr, _, err := serveInstant()
	if err != nil {
		os.Exit(1)
	}
	fmt.Println(addr)
	_, _ = os.Stdin.Read(make([]byte, 1))
	os.Exit(0)
}

// BenchmarkSaturation sends small prompts as fast as one process can to a proxy that
// answers at once: requests/s, and what each costs this process in CPU time. An open
// loop is offered more than it can do.
//
//	go test -run '^$' -bench Saturation -benchtime 100000x ./loadgen/sweep
func BenchmarkSaturation(b *testing.B) {
	plans := map[string]Plan{
		"closed": {Concurrency: 64, Timeout: time.Minute},
		"open": {Timeout: time.Minute, Arrival: Arrival{
			Process: Constant, Rate: maxRate, MaxOutstanding: 256, WhenFull: Wait, LateAfter: DefaultLateAfter,
		}},
	}
	for _, loop := range []string{"closed", "open"} {
		b.Run("loop="+loop+"/server=none", func(b *testing.B) { saturate(b, plans[loop], nothing{}) })
		b.Run("loop="+loop+"/server=process", func(b *testing.B) {
			addr, stop, err := serveInstant()
			if err != nil {
				b.Fatal(err)
			}
			defer stop()
			saturate(b, plans[loop], dial(b, addr))
		})
		b.Run("loop="+loop+"/server=other", func(b *testing.B) { saturate(b, plans[loop], dial(b, inAnotherProcess(b))) })
	}
}

func dial(b *testing.B, addr string) *target.Proxy {
	p, err := target.DialProxy(addr, addr, target.Access{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = p.Close() })
	return p
}

func saturate(b *testing.B, plan Plan, to target.Sender) {
	list := prompts(b.N)
	for i := range list {
		list[i].Text = "def add(a, b): return a + b"
	}
	ctx := b.Context()
	if _, err := to.Send(ctx, list[0]); err != nil { // the connection is made
		b.Fatal(err)
	}
	before := processCPU()
	b.ResetTimer()
	samples, _, wall := plan.send(ctx, to, list, 1, new(RunProgress))
	b.StopTimer()
	after := processCPU()
	for _, s := range samples {
		if s.err != nil || !s.sent {
			b.Fatal(s.err)
		}
	}
	b.ReportMetric(float64(b.N)/wall.Seconds(), "requests/s")
	b.ReportMetric(float64((after-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
}
