package scaleout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"paceline/proxy/server"
	"paceline/sglang/sim"
)

// podOptions are those of one pod.
type podOptions struct {
	Slow    float64 // how many times longer all work takes in its SGLang; 0 means 1
	Profile sim.Profile
	Speed   float64 // simulated seconds per real second
	Proxy   server.Config
}

// podSet is some pods on loopback and the clients that dial them by one name, as those of
// a headless Service do. It is safe for concurrent use.
type podSet struct {
	change func(pod int, o *podOptions)

	mu    sync.Mutex // guards all below
	made  int
	pods  []*pod             // behind the name, oldest first
	names []*manual.Resolver // of the connections
}

// startPods runs n pods until the test ends. change, if not nil, changes the options of
// each; pods count from 0, and those that come later go on counting.
func startPods(t testing.TB, n int, change func(pod int, o *podOptions)) *podSet {
	t.Helper()
	s := &podSet{change: change}
	t.Cleanup(func() {
		for _, p := range s.Pods() {
			if err := p.Stop(); err != nil {
				t.Error(err)
			}
		}
	})
	for range n {
		s.add(t)
	}
	return s
}

// add runs one more pod, waits until it is ready, and puts it behind the name.
func (s *podSet) add(t testing.TB) {
	t.Helper()
	p := s.start(t, "127.0.0.1:0")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pods = append(s.pods, p)
	s.publish()
}

// replace ends a pod and runs another at its address, as systemd does. The name stays.
func (s *podSet) replace(t testing.TB, old *pod) *pod {
	t.Helper()
	if err := old.Stop(); err != nil {
		t.Error(err)
	}
	p := s.start(t, old.Proxy.Addr())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pods[slices.Index(s.pods, old)] = p
	return p
}

func (s *podSet) start(t testing.TB, listen string) *pod {
	t.Helper()
	s.mu.Lock()
	number := s.made
	s.made++
	s.mu.Unlock()
	o := podOptions{Slow: 1, Profile: sim.Profiles()[0], Speed: speed, Proxy: server.DefaultConfig()}
	o.Proxy.Listen, o.Proxy.HTTP, o.Proxy.Admin, o.Proxy.Metrics = listen, "", "", ""
	if s.change != nil {
		s.change(number, &o)
	}
	p, err := startPod(t.Context(), o)
	if err != nil {
		t.Fatalf("pod %d: %v", number, err)
	}
	return p
}

// remove takes a pod's address out of the name. The pod goes on running.
func (s *podSet) remove(p *pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pods = slices.DeleteFunc(slices.Clone(s.pods), func(q *pod) bool { return q == p })
	s.publish()
}

// Pods are those behind the name, oldest first.
func (s *podSet) Pods() []*pod {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.pods)
}

// dial connects to the name with a service configuration (JSON). There are no retries
// but those that gRPC makes by itself of what no server has seen.
func (s *podSet) dial(t testing.TB, serviceConfig string) *grpc.ClientConn {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	names := manual.NewBuilderWithScheme("pods")
	names.InitialState(s.state())
	conn, err := grpc.NewClient("pods:///paceline", grpc.WithResolvers(names), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(serviceConfig), grpc.WithDisableRetry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	conn.Connect() // from now on names may be updated
	s.names = append(s.names, names)
	return conn
}

// publish requires mu.
func (s *podSet) publish() {
	for _, n := range s.names {
		n.UpdateState(s.state())
	}
}

// state requires mu.
func (s *podSet) state() (st resolver.State) {
	for _, p := range s.pods {
		st.Endpoints = append(st.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: p.Proxy.Addr()}}})
	}
	return st
}

// pod is a proxy and its simulated SGLang.
type pod struct {
	*sim.Server
	Proxy *server.Server

	// Stop ends the proxy as SIGTERM does, once everything accepted is answered, then
	// SGLang.
	Stop func() error
}

func startPod(ctx context.Context, o podOptions) (*pod, error) {
	s, err := sim.New(sim.Options{Profile: slower(o.Profile, o.Slow), Speed: o.Speed})
	if err != nil {
		return nil, err
	}
	url, err := s.Listen("127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	o.Proxy.Upstream.URL, o.Proxy.Upstream.VocabSize = url, o.Profile.VocabSize
	proxy, err := server.New(o.Proxy)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	running, drain := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- proxy.Run(running) }()
	p := &pod{Server: s, Proxy: proxy, Stop: sync.OnceValue(func() error {
		drain()
		return errors.Join(<-ended, s.Close())
	})}
	if err := ready(ctx, proxy.Addr()); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

// slower returns a server on which all work takes times as long.
func slower(p sim.Profile, times float64) sim.Profile {
	for _, seconds := range []*float64{
		&p.CallSeconds, &p.RequestSeconds, &p.TokenizeSecondsPerByte, &p.TokenSeconds, &p.ForwardSeconds,
		&p.ScheduleSeconds, &p.ListSeconds, &p.LaunchSeconds, &p.AloneSeconds, &p.AttentionSeconds,
	} {
		*seconds *= times
	}
	return p
}

// ready waits until the proxy at an address says that it serves.
func ready(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	watch, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true))
	for err == nil {
		var m *healthpb.HealthCheckResponse
		if m, err = watch.Recv(); m.GetStatus() == healthpb.HealthCheckResponse_SERVING {
			return nil
		}
	}
	return fmt.Errorf("the proxy at %s is not ready: %w", addr, err)
}

// await polls until a condition holds.
func await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
