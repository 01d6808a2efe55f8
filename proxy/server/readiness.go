package server

import (
	"context"
	"sync"

	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	pb "paceline/proto/paceline/v1"
)

// livenessService is the health service name that says only that the process
// answers: true while SGLang is away, too, so that nobody restarts the proxy
// for it.
const livenessService = "liveness"

// readiness joins the two conditions under which requests are served, SGLang
// there and no drain, and publishes the result as gRPC health.
type readiness struct {
	health *health.Server

	mu       sync.Mutex // guards all below
	upstream bool
	reason   string // why upstream is false
	draining bool
	stopping bool // the process ends: draining can't be undone
}

func newReadiness() *readiness {
	r := &readiness{health: health.NewServer(), reason: notAsked}
	r.health.SetServingStatus(livenessService, healthpb.HealthCheckResponse_SERVING)
	r.publish()
	return r
}

// verdict is readiness at one moment.
type verdict struct {
	ready    bool
	reason   string // why not
	draining bool
}

func (r *readiness) now() verdict {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.draining:
		return verdict{reason: "the proxy is draining", draining: true}
	case !r.upstream:
		return verdict{reason: r.reason}
	}
	return verdict{ready: true}
}

// setUpstream records whether SGLang is there, or why not.
func (r *readiness) setUpstream(ready bool, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.upstream, r.reason = ready, reason
	r.publish()
}

// drain says that no new requests are taken, which begin brings about, and
// returns what begin does. Both happen under one lock, as in resume: what is
// said is always what holds.
func (r *readiness) drain(begin func() func(context.Context) error) (wait func(context.Context) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining = true
	r.publish()
	return begin()
}

// stop is drain for good.
func (r *readiness) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining, r.stopping = true, true
	r.publish()
}

// resume ends a drain by way of undo, unless the process is stopping: then it
// returns false. Both happen under one lock, so a stop can't slip between.
func (r *readiness) resume(undo func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopping {
		return false
	}
	r.draining = false
	undo()
	r.publish()
	return true
}

// publish requires mu.
func (r *readiness) publish() {
	status := healthpb.HealthCheckResponse_NOT_SERVING
	if r.upstream && !r.draining {
		status = healthpb.HealthCheckResponse_SERVING
	}
	r.health.SetServingStatus("", status)
	r.health.SetServingStatus(pb.PrefillService_ServiceDesc.ServiceName, status)
}
