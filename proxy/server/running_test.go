package server

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	pb "paceline/proto/paceline/v1"
)

// patience bounds every wait of the tests. No test should need it.
const patience = 20 * time.Second

// running is a proxy under test with its clients.
type running struct {
	*Server
	t       *testing.T
	prefill pb.PrefillServiceClient
	admin   pb.AdminServiceClient
	health  healthpb.HealthClient
	log     *safeBuffer

	stop  context.CancelFunc
	ended chan struct{}
	err   error // of Run, once ended is closed
}

// start runs a proxy in front of f and waits until it is ready.
func start(t *testing.T, f *fakeSGLang, change func(*Config)) *running {
	r := startUnready(t, f, change)
	r.awaitHealth(healthpb.HealthCheckResponse_SERVING)
	return r
}

func startUnready(t *testing.T, f *fakeSGLang, change func(*Config)) *running {
	t.Helper()
	r := &running{t: t, log: new(safeBuffer), ended: make(chan struct{})}
	cfg := DefaultConfig()
	cfg.Upstream.URL = f.url()
	cfg.Listen, cfg.HTTP, cfg.Admin, cfg.Metrics = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	cfg.Upstream.MaxOutage = 0 // a server that a test stops is gone
	cfg.Logger = slog.New(slog.NewTextHandler(r.log, nil))
	if change != nil {
		change(&cfg)
	}
	var err error
	if r.Server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() {
		defer close(r.ended)
		r.err = r.Run(ctx)
	}()
	t.Cleanup(func() { stop(); <-r.ended })
	data, admin := r.dial(r.Addr()), r.dial(r.AdminAddr())
	r.prefill, r.health = pb.NewPrefillServiceClient(data), healthpb.NewHealthClient(data)
	r.admin = pb.NewAdminServiceClient(admin)
	return r
}

func (r *running) dial(addr string) *grpc.ClientConn {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	return conn
}

func (r *running) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	r.t.Cleanup(cancel)
	return ctx
}

// awaitHealth waits until health reports the wanted status.
func (r *running) awaitHealth(want healthpb.HealthCheckResponse_ServingStatus) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	w, err := r.health.Watch(ctx, &healthpb.HealthCheckRequest{Service: "paceline.v1.PrefillService"})
	if err != nil {
		r.t.Fatal(err)
	}
	for {
		m, err := w.Recv()
		if err != nil {
			r.t.Fatalf("waiting for health %v: %v", want, err)
		}
		if m.GetStatus() == want {
			return
		}
	}
}

// await polls until a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// outcome is the end of one call.
type outcome struct {
	reply *pb.PrefillResponse
	err   error
}

// send starts a call and returns a channel for its outcome.
func (r *running) send(ctx context.Context, req *pb.PrefillRequest) <-chan outcome {
	c := make(chan outcome, 1)
	go func() {
		reply, err := r.prefill.Prefill(ctx, req)
		c <- outcome{reply, err}
	}()
	return c
}

// httpReply is an HTTP answer, read.
type httpReply struct {
	code   int
	header http.Header
	body   string
}

func (r *running) http(method, url, body string, header ...string) httpReply {
	r.t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(r.context(), method, "http://"+url, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return httpReply{res.StatusCode, res.Header, string(data)}
}

func (r *running) post(body string, header ...string) httpReply {
	r.t.Helper()
	return r.http(http.MethodPost, r.HTTPAddr()+"/v1/prefill", body, header...)
}

// safeBuffer is a log that may be read while it is written.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// sendEach sends texts one after the other, so that they have their order in the
// batch.
func sendEach(t *testing.T, r *running, texts ...string) (ends []<-chan outcome) {
	t.Helper()
	for i, text := range texts {
		ends = append(ends, r.send(r.context(), &pb.PrefillRequest{Text: text}))
		await(t, "the request waits or goes", func() bool { return r.up.Queue.Stats().Accepted == uint64(i+1) })
	}
	return ends
}
