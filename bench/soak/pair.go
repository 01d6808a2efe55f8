package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	pb "paceline/proto/paceline/v1"
	"paceline/sglang/sim"
)

// pair is a proxy and its SGLang, with their clients.
type pair struct {
	options
	name    string
	kinds   []kind
	program string // the proxy's
	rate    float64

	oracle                             *sim.Server
	sglang, grpc, rest, admin, metrics string // addresses, the same in each life
	conn, adminConn                    *grpc.ClientConn
	prefill                            pb.PrefillServiceClient
	score                              pb.ScoreServiceClient
	status                             pb.AdminServiceClient
	http                               *http.Client
	simulator, proxy                   *exec.Cmd

	mu      sync.Mutex // guards all below
	outages []span     // of SGLang
	stops   []span     // of the proxy
	lives   []*life
	counts  [outcomes]int
	wrong   []string // what must not happen, the first of them
	wrongs  int
}

// span is a time without SGLang, or without the proxy. The zero end is that of one under way.
type span struct{ from, to time.Time }

// grace is how long after its start SGLang may still count as away: the proxy looks each second.
const grace = 5 * time.Second

// open starts both processes.
func (p *pair) open() (err error) {
	if p.oracle, err = newSimulator(p.embeds, 1000); err != nil {
		return err
	}
	for _, addr := range []*string{&p.sglang, &p.grpc, &p.rest, &p.admin, &p.metrics} {
		*addr = freePort()
	}
	p.http = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute}}
	if p.conn, err = dial(p.grpc); err != nil {
		return err
	}
	if p.adminConn, err = dial(p.admin); err != nil {
		return err
	}
	p.prefill, p.score = pb.NewPrefillServiceClient(p.conn), pb.NewScoreServiceClient(p.conn)
	p.status = pb.NewAdminServiceClient(p.adminConn)
	if err := p.startSGLang(); err != nil {
		return err
	}
	return p.startProxy()
}

// freePort returns an address below the ports that the kernel gives to clients (Linux), so
// that nobody takes it while a proxy is away.
func freePort() string {
	for {
		addr := fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000))
		if l, err := net.Listen("tcp", addr); err == nil { //nolint:noctx // closed at once
			_ = l.Close()
			return addr
		}
	}
}

func (p *pair) close() {
	_ = p.conn.Close()
	_ = p.adminConn.Close()
	_ = p.oracle.Close()
	for _, cmd := range []*exec.Cmd{p.simulator, p.proxy} {
		if cmd != nil && cmd.Process != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
}

// dial returns a connection that comes back soon after the server does.
func dial(addr string) (*grpc.ClientConn, error) {
	quick := backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.5, MaxDelay: time.Second}
	return grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: quick, MinConnectTimeout: time.Second}))
}

func (p *pair) startSGLang() error {
	p.simulator = exec.Command(os.Args[0], //nolint:gosec,noctx // ourselves; until it is killed
		"-role", "simulate", "-addr", p.sglang, "-embeds="+strconv.FormatBool(p.embeds),
		"-time", p.time.String(), "-began", strconv.FormatInt(p.began, 10))
	p.simulator.Stderr = os.Stderr
	return p.simulator.Start()
}

// restartSGLang kills SGLang and starts it again after a time.
func (p *pair) restartSGLang(away time.Duration) {
	p.mu.Lock()
	p.outages = append(p.outages, span{from: time.Now()})
	p.mu.Unlock()
	_ = p.simulator.Process.Kill()
	_ = p.simulator.Wait()
	time.Sleep(away)
	err := p.startSGLang()
	p.mu.Lock()
	p.outages[len(p.outages)-1].to = time.Now().Add(grace)
	p.mu.Unlock()
	fmt.Printf("%s %s: SGLang was away for %v\n", p.clock(), p.name, away.Round(100*time.Millisecond))
	if err != nil {
		p.complain("SGLang does not start: %v", err)
	}
}

// startProxy starts a life of the proxy.
func (p *pair) startProxy() error {
	p.mu.Lock()
	n := len(p.lives) + 1
	p.mu.Unlock()
	log, err := os.Create(filepath.Join(p.dir, fmt.Sprintf("%s-%d.log", p.name, n)))
	if err != nil {
		return err
	}
	defer log.Close()              //nolint:errcheck // the process has its own
	cmd := exec.Command(p.program, //nolint:gosec,noctx // built by this command; until it is stopped
		"-upstream", "http://"+p.sglang, "-listen", p.grpc, "-http", p.rest, "-admin", p.admin, "-metrics", p.metrics,
		"-drain-delay", "1s") // in which HTTP clients leave their connections
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		return err
	}
	p.mu.Lock()
	p.proxy = cmd
	p.lives = append(p.lives, &life{began: time.Now(), pid: cmd.Process.Pid, log: log.Name()})
	p.mu.Unlock()
	return nil
}

// restartProxy stops the proxy as Kubernetes does, and starts the next when it has ended.
func (p *pair) restartProxy(ctx context.Context) {
	began := time.Now()
	p.mu.Lock()
	p.stops = append(p.stops, span{from: began})
	p.mu.Unlock()
	if err := p.stopProxy(ctx); err != nil {
		p.complain("the proxy did not drain: %v", err)
	}
	took := time.Since(began)
	p.mu.Lock()
	p.stops[len(p.stops)-1].to = time.Now().Add(time.Second) // until all connections of the old one are known to be closed
	p.mu.Unlock()
	if err := p.startProxy(); err != nil {
		p.complain("the proxy does not start: %v", err)
	}
	fmt.Printf("%s %s: the proxy drained for %v\n", p.clock(), p.name, took.Round(100*time.Millisecond))
}

// stopProxy ends a life with SIGTERM, and samples its counters to the end.
func (p *pair) stopProxy(ctx context.Context) error {
	if err := p.proxy.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- p.proxy.Wait() }()
	for {
		select {
		case err := <-ended:
			l := p.life()
			p.mu.Lock()
			l.ended = true
			p.mu.Unlock()
			return err
		case <-time.After(20 * time.Millisecond):
			p.sampleCounters(context.WithoutCancel(ctx), p.life())
		}
	}
}

// life returns the current life of the proxy.
func (p *pair) life() *life {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lives[len(p.lives)-1]
}

// clock returns the time since the beginning.
func (p *pair) clock() string {
	return fmt.Sprintf("%6.1f min", time.Since(time.Unix(0, p.began)).Minutes())
}

// complain notes what must not happen.
func (p *pair) complain(format string, args ...any) {
	text := p.clock() + " " + fmt.Sprintf(format, args...)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wrongs++; len(p.wrong) < 50 {
		p.wrong = append(p.wrong, text)
		fmt.Printf("WRONG %s: %s\n", p.name, strings.TrimSpace(text))
	}
}

// troubled reports whether SGLang failed, or was away, at some time from began to now.
func (p *pair) troubled(began time.Time) (failing, away bool) {
	now := time.Now()
	for t := began; ; t = t.Add(50 * time.Millisecond) {
		if t.After(now) {
			t = now
		}
		if p.faulty(t) {
			failing = true
		}
		if failing || t.Equal(now) {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return failing, during(p.outages, began)
}

// stopped reports whether the proxy was stopping or away at some time from began to now.
func (p *pair) stopped(began time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return during(p.stops, began)
}

// during reports whether one of spans and the time from began to now overlap.
func during(spans []span, began time.Time) bool {
	return slices.ContainsFunc(spans, func(s span) bool { return s.to.IsZero() || s.to.After(began) })
}
