// Package servertest runs a whole proxy in front of a simulated SGLang, for tests of other
// packages and of the deployment files.
package servertest

import (
	"context"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	pb "paceline/proto/paceline/v1"
	"paceline/proxy/server"
	"paceline/sglang/sim"
)

// Proxy is a running proxy.
type Proxy struct {
	*server.Server
	Client pb.PrefillServiceClient

	// Stop drains and stops the proxy, and returns the error of Run. It is also called at
	// the end of the test.
	Stop func() error
}

// Simulator returns a simulated H100 at the given speed, which ends with the test. It listens
// nowhere yet.
func Simulator(t testing.TB, speed float64) *sim.Server {
	t.Helper()
	profile, err := sim.ProfileNamed("h100-qwen2.5-7b")
	if err != nil {
		t.Fatal(err)
	}
	s, err := sim.New(sim.Options{Profile: profile, Speed: speed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// Start runs a simulated H100 at the given speed and a proxy in front of it, and waits until
// it is ready. The proxy serves only gRPC, on a free port. change may change its
// configuration.
func Start(t testing.TB, speed float64, change func(*server.Config)) *Proxy {
	t.Helper()
	upstream, err := Simulator(t, speed).Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := server.DefaultConfig()
	cfg.Upstream.URL, cfg.Listen, cfg.HTTP, cfg.Admin, cfg.Metrics = upstream, "127.0.0.1:0", "", "", ""
	change(&cfg)
	proxy, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- proxy.Run(ctx) }()
	p := &Proxy{Server: proxy, Stop: sync.OnceValue(func() error { stop(); return <-ended })}
	t.Cleanup(func() { _ = p.Stop() })
	conn, err := grpc.NewClient(proxy.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	p.Client = pb.NewPrefillServiceClient(conn)
	awaitReady(t, healthpb.NewHealthClient(conn))
	return p
}

func awaitReady(t testing.TB, health healthpb.HealthClient) {
	t.Helper()
	watch, err := health.Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for {
		m, err := watch.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if m.GetStatus() == healthpb.HealthCheckResponse_SERVING {
			return
		}
	}
}
