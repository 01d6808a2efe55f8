package server

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	pb "paceline/proto/paceline/v1"
	"paceline/proxy/upstream"
)

func TestDrainingAnswersEverythingAcceptedAndRefusesTheRest(t *testing.T) {
	f := newFake(t)
	f.hold = make(chan struct{})
	r := start(t, f, func(c *Config) {
		c.Settings.BatchSize, c.Settings.MaxInFlight, c.Settings.MaxWait = 2, 1, time.Minute
	})
	var ends []<-chan outcome
	for i := range 5 { // two in flight, two queued, and one that would wait a minute for a neighbour
		ends = append(ends, r.send(r.context(), &pb.PrefillRequest{TokenIds: []int32{int32(i)}}))
	}
	await(t, "all are accepted", func() bool { return r.Pending() == 5 })
	<-f.entered
	r.stop()
	await(t, "new requests are refused", func() bool {
		// A request that arrives before the drain would wait for a slot.
		ctx, cancel := context.WithTimeout(r.context(), time.Second)
		defer cancel()
		_, err := r.prefill.Prefill(ctx, &pb.PrefillRequest{Text: "late"})
		return status.Code(err) == codes.Unavailable
	})
	if got := r.http("GET", r.HTTPAddr()+"/readyz", ""); got.code != 503 || got.body != "not ready: the proxy is draining\n" {
		t.Errorf("/readyz: %d %s", got.code, got.body)
	}
	if _, err := r.admin.Undrain(r.context(), &pb.UndrainRequest{}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("undrain while stopping: %v", err)
	}
	await(t, "REST is refused with a time to come again", func() bool {
		got := r.http("POST", r.HTTPAddr()+"/v1/prefill", `{"text": "late"}`, "Grpc-Timeout", "1S")
		return got.code == 503 && got.header.Get("Retry-After") != ""
	})
	close(f.hold)
	for _, end := range ends {
		if o := <-end; o.err != nil {
			t.Errorf("accepted, but: %v", o.err)
		}
	}
	if <-r.ended; r.err != nil {
		t.Error(r.err)
	}
}

// Else a client could send on a connection that the end closes, and never hear of it.
func TestAnAnswerDuringTheEndIsTheLastOfItsConnection(t *testing.T) {
	f := newFake(t)
	f.hold = make(chan struct{})
	r := start(t, f, nil)
	end := r.send(r.context(), &pb.PrefillRequest{Text: "a"})
	<-f.entered
	last := func() bool {
		req, err := http.NewRequestWithContext(r.context(), http.MethodGet, "http://"+r.HTTPAddr()+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.Close
	}
	if last() {
		t.Error("a connection ends before the end")
	}
	r.stop()
	await(t, "connections end", last)
	close(f.hold)
	if o := <-end; o.err != nil {
		t.Error(o.err)
	}
}

// A client that does not know of the end yet did nothing wrong.
func TestADrainTakesNewRequestsForItsDelay(t *testing.T) {
	ways := map[string]func(*running){
		"asked for":  func(r *running) { go func() { _, _ = r.admin.Drain(r.context(), &pb.DrainRequest{}) }() },
		"at the end": func(r *running) { r.stop() },
	}
	for name, drain := range ways {
		t.Run(name, func(t *testing.T) {
			r := start(t, newFake(t), func(c *Config) { c.DrainDelay, c.DrainTimeout = patience, 2*patience })
			drain(r)
			r.awaitHealth(healthpb.HealthCheckResponse_NOT_SERVING)
			if got := r.post(`{"text": "late"}`); got.code != 200 {
				t.Errorf("REST: %d %s", got.code, got.body)
			}
			if o := <-r.send(r.context(), &pb.PrefillRequest{Text: "late"}); o.err != nil {
				t.Errorf("gRPC: %v", o.err)
			}
			r.Server.stop() // waits no longer
		})
	}
}

func TestADrainCanBeUndoneWithinItsDelay(t *testing.T) {
	r := start(t, newFake(t), func(c *Config) { c.DrainDelay, c.DrainTimeout = patience, 2*patience })
	drained := make(chan error, 1)
	go func() {
		_, err := r.admin.Drain(r.context(), &pb.DrainRequest{})
		drained <- err
	}()
	r.awaitHealth(healthpb.HealthCheckResponse_NOT_SERVING)
	if _, err := r.admin.Undrain(r.context(), &pb.UndrainRequest{}); err != nil {
		t.Fatal(err)
	}
	if err := <-drained; status.Code(err) != codes.Aborted {
		t.Errorf("drain: %v", err)
	}
	r.awaitHealth(healthpb.HealthCheckResponse_SERVING)
	if o := <-r.send(r.context(), &pb.PrefillRequest{Text: "a"}); o.err != nil {
		t.Error(o.err)
	}
}

func TestWhatIsNotAnsweredWithinTheDrainTimeoutIsCutAndCounted(t *testing.T) {
	f := newFake(t)
	f.hold = make(chan struct{})
	r := start(t, f, func(c *Config) { c.DrainTimeout = 2 * time.Second }) // a tenth of it is for sending what was cut
	end := r.send(r.context(), &pb.PrefillRequest{Text: "a"})
	<-f.entered
	r.stop()
	o := <-end
	if s := status.Convert(o.err); s.Code() != codes.Unavailable || upstream.RetryAfter(s) == 0 {
		t.Errorf("got %v", o.err)
	}
	if <-r.ended; r.err == nil || !strings.Contains(r.err.Error(), "1 requests were cut") {
		t.Errorf("Run: %v", r.err)
	}
}

// A client that only listens must not delay the end.
func TestIdleStreamsDoNotHoldUpTheEnd(t *testing.T) {
	r := start(t, newFake(t), func(c *Config) { c.DrainTimeout = time.Hour })
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := r.prefill.PrefillStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil {
		t.Fatal(err)
	}
	watch := func(c healthpb.HealthClient) {
		w, err := c.Watch(ctx, &healthpb.HealthCheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	watch(r.health)
	watch(healthpb.NewHealthClient(r.dial(r.AdminAddr())))
	r.stop()
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("stream: %v", err)
	}
	select {
	case <-r.ended:
	case <-time.After(patience):
		t.Fatal("Run still waits")
	}
	if r.err != nil {
		t.Error(r.err)
	}
}

func TestRunEndsAtOnceWithoutSGLang(t *testing.T) {
	f := newFake(t)
	f.stop()
	r := startUnready(t, f, nil)
	r.stop()
	if <-r.ended; r.err != nil {
		t.Error(r.err)
	}
}

func TestADrainAfterTheEndHasBegunWaitsForNoDelay(t *testing.T) {
	f := newFake(t)
	f.hold = make(chan struct{})
	r := start(t, f, func(c *Config) { c.DrainDelay, c.DrainTimeout = time.Hour, 2*time.Hour })
	end := r.send(r.context(), &pb.PrefillRequest{Text: "held"})
	await(t, "it is held", func() bool { return r.Pending() == 1 })
	r.readiness.stop()
	if _, err := r.admin.Drain(r.context(), &pb.DrainRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("drain: %v", err)
	}
	close(f.hold)
	if o := <-end; o.err != nil {
		t.Error(o.err)
	}
}

// A drain over the admin service waits for its delay, but not after SIGTERM.
func TestTheEndWaitsForNoDelayOfADrain(t *testing.T) {
	r := start(t, newFake(t), func(c *Config) { c.DrainDelay, c.DrainTimeout = time.Hour, 2*time.Hour })
	drained := make(chan error, 1)
	go func() {
		_, err := r.admin.Drain(r.context(), &pb.DrainRequest{})
		drained <- err
	}()
	r.awaitHealth(healthpb.HealthCheckResponse_NOT_SERVING)
	r.stop()
	if err := <-drained; status.Code(err) != codes.Unavailable {
		t.Errorf("drain: %v", err)
	}
	select {
	case <-r.ended:
	case <-time.After(patience):
		t.Fatal("Run still waits")
	}
}
