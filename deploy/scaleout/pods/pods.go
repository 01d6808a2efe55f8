// Package pods runs pods on loopback, each a proxy before a simulated SGLang of its
// own, and dials them as a client of a headless Service does: by one name that stands
// for the addresses of all.
//
// It is for tests and measurements of what is spread over several pods. Everything
// runs in this process; a rolling restart of real processes is ../roll's.
package pods

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"paceline/proxy/server"
	"paceline/sglang/sim"
)

// Options are those of every pod.
type Options struct {
	Profile sim.Profile                  // of the simulated SGLang; the zero Profile is the H100
	Speed   float64                      // simulated seconds per real second
	Change  func(pod int, o *PodOptions) // nil changes nothing; pods count from 0, those that come later go on counting
}

// PodOptions are those of one pod.
type PodOptions struct {
	Servers int                      // SGLangs behind the one proxy; 1 unless changed
	Slow    func(server int) float64 // how many times slower a server is; nil: none is
	Profile sim.Profile
	Speed   float64
	Proxy   server.Config
}

// Set is some running pods. It is safe for concurrent use.
type Set struct {
	options Options

	mu    sync.Mutex // guards all below
	made  int
	pods  []*Pod
	names []*manual.Resolver // of the connections
}

// Start runs n pods and waits until each is ready.
func Start(ctx context.Context, n int, o Options) (*Set, error) {
	s := &Set{options: o}
	for range n {
		if _, err := s.Add(ctx); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// Add runs one more pod, waits until it is ready, and tells the clients of it.
func (s *Set) Add(ctx context.Context) (*Pod, error) {
	s.mu.Lock()
	number := s.made
	s.made++
	s.mu.Unlock()
	p, err := start(ctx, number, s.options)
	if err != nil {
		return nil, fmt.Errorf("pod %d: %w", number, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pods = append(s.pods, p)
	s.publish()
	return p, nil
}

// Remove takes a pod's address out of the name. It goes on running.
func (s *Set) Remove(p *Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pods = slices.DeleteFunc(slices.Clone(s.pods), func(q *Pod) bool { return q == p })
	s.publish()
}

// Pods are those behind the name, oldest first.
func (s *Set) Pods() []*Pod {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.pods)
}

// Dial connects to the name with a service configuration (JSON), and without retries
// but those that gRPC makes by itself of what no server has seen.
func (s *Set) Dial(serviceConfig string) (*grpc.ClientConn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := manual.NewBuilderWithScheme("pods")
	names.InitialState(s.state())
	conn, err := grpc.NewClient("pods:///paceline",
		grpc.WithResolvers(names), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(serviceConfig), grpc.WithDisableRetry())
	if err != nil {
		return nil, err
	}
	conn.Connect() // from now on names may be updated
	s.names = append(s.names, names)
	return conn, nil
}

// publish requires mu.
func (s *Set) publish() {
	for _, n := range s.names {
		n.UpdateState(s.state())
	}
}

// state requires mu.
func (s *Set) state() resolver.State {
	var st resolver.State
	for _, p := range s.pods {
		st.Endpoints = append(st.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: p.Proxy.Addr()}}})
	}
	return st
}

// Close ends all pods, once what they accepted is answered. Connections are closed
// before.
func (s *Set) Close() error {
	var errs []error
	for _, p := range s.Pods() {
		errs = append(errs, p.Stop())
	}
	return errors.Join(errs...)
}

// Reach sends by send, which counts its calls from 0, until every pod's SGLangs have
// taken something: the client then knows all pods. Nobody else sends meanwhile.
func (s *Set) Reach(ctx context.Context, send func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	before := s.taken()
	for i := 0; ; i++ {
		if err := send(ctx, i); err != nil {
			return fmt.Errorf("until each pod has answered: %w", err)
		}
		reached := true
		for p, n := range s.taken() {
			reached = reached && n > before[p]
		}
		if reached {
			return nil
		}
	}
}

func (s *Set) taken() map[*Pod]int64 {
	out := map[*Pod]int64{}
	for _, p := range s.Pods() {
		out[p] = p.Stats().Requests
	}
	return out
}

// Pod is a proxy and its SGLang, or several.
type Pod struct {
	Number int
	Proxy  *server.Server

	// Stop ends the proxy as SIGTERM does, once everything accepted is answered,
	// then SGLang, and returns how.
	Stop func() error

	simulators []*sim.Server
}

// Stats are the prompts and tokens of the pod's SGLangs so far.
func (p *Pod) Stats() (sum sim.Stats) {
	for _, s := range p.simulators {
		st := s.Stats()
		sum.Requests += st.Requests
		sum.PromptTokens += st.PromptTokens
		sum.CachedTokens += st.CachedTokens
		sum.UncachedTokens += st.UncachedTokens
	}
	return sum
}

func start(ctx context.Context, number int, o Options) (*Pod, error) {
	own := PodOptions{Servers: 1, Profile: o.Profile, Speed: o.Speed, Proxy: server.DefaultConfig()}
	if own.Profile.Name == "" {
		own.Profile = sim.Profiles()[0]
	}
	own.Proxy.Listen, own.Proxy.HTTP, own.Proxy.Admin, own.Proxy.Metrics = "127.0.0.1:0", "", "", ""
	own.Proxy.Upstream.VocabSize = own.Profile.VocabSize
	if o.Change != nil {
		o.Change(number, &own)
	}
	p := &Pod{Number: number}
	if err := p.simulate(&own); err != nil {
		return nil, errors.Join(err, p.closeSimulators())
	}
	proxy, err := server.New(own.Proxy)
	if err != nil {
		return nil, errors.Join(err, p.closeSimulators())
	}
	running, drain := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- proxy.Run(running) }()
	p.Proxy = proxy
	p.Stop = sync.OnceValue(func() error {
		drain()
		return errors.Join(<-ended, p.closeSimulators())
	})
	if err := Ready(ctx, proxy.Addr()); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

// simulate starts the pod's SGLangs and makes them the proxy's upstreams.
func (p *Pod) simulate(o *PodOptions) error {
	for i := range o.Servers {
		profile := o.Profile
		if o.Slow != nil {
			profile = slower(profile, o.Slow(i))
		}
		s, err := sim.New(sim.Options{Profile: profile, Speed: o.Speed})
		if err != nil {
			return err
		}
		p.simulators = append(p.simulators, s)
		url, err := s.Listen("127.0.0.1:0")
		if err != nil {
			return err
		}
		o.Proxy.Upstream.URL = url
	}
	return nil
}

// slower is a server on which all work takes so many times longer.
func slower(p sim.Profile, times float64) sim.Profile {
	for _, seconds := range []*float64{
		&p.CallSeconds, &p.RequestSeconds, &p.TokenizeSecondsPerByte, &p.TokenSeconds, &p.ForwardSeconds, &p.SequenceSeconds, &p.AttentionSeconds,
	} {
		*seconds *= times
	}
	return p
}

func (p *Pod) closeSimulators() error {
	var errs []error
	for _, s := range p.simulators {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// readyPatience bounds Ready.
const readyPatience = time.Minute

// Ready waits until the proxy at an address says that it serves.
func Ready(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is under way
	watch, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true))
	for err == nil {
		var m *healthpb.HealthCheckResponse
		if m, err = watch.Recv(); m.GetStatus() == healthpb.HealthCheckResponse_SERVING {
			return nil
		}
	}
	return fmt.Errorf("the proxy at %s is not ready: %w", addr, err)
}
