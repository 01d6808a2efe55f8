package server

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"paceline/batcher"
	pb "paceline/proto/paceline/v1"
)

// livenessService is the health service that says only that the process answers. It is
// SERVING even while SGLang is away, so that the proxy is not restarted for that.
const livenessService = "liveness"

// drainer is the part of the queue that readiness uses.
type drainer interface {
	BeginDrain() (wait func(context.Context) error)
	Resume()
}

// readiness combines the two conditions for serving requests, that SGLang is ready and that
// no drain is under way, and publishes the result as gRPC health.
type readiness struct {
	health *health.Server
	queue  drainer

	mu       sync.Mutex // guards all fields below
	upstream bool
	reason   string // why upstream is false
	draining bool
	stopping bool          // the process ends: draining can't be undone
	resumed  chan struct{} // closed when the drain is undone or the process ends, and then another
}

// newReadiness returns a readiness that is not ready, with the reason.
func newReadiness(queue drainer, reason string) *readiness {
	r := &readiness{health: health.NewServer(), queue: queue, reason: reason, resumed: make(chan struct{})}
	r.health.SetServingStatus(livenessService, healthpb.HealthCheckResponse_SERVING)
	r.publish()
	return r
}

// verdict is the readiness at one moment.
type verdict struct {
	ready    bool
	reason   string // why ready is false
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

// setUpstream records whether SGLang is ready, and if not, why.
func (r *readiness) setUpstream(ready bool, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.upstream, r.reason = ready, reason
	r.publish()
}

// drain publishes that no new requests are accepted, and begins to drain the queue after a
// delay or when ctx ends. wait returns when every accepted request has ended. Publishing
// and draining happen under one lock, as in resume, so that both always agree.
func (r *readiness) drain(ctx context.Context, delay time.Duration) (wait func(context.Context) error, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining = true
	r.publish()
	if resumed := r.resumed; delay > 0 {
		if r.stopping {
			return nil, batcher.ErrDraining // Run drains it, after its own delay
		}
		r.mu.Unlock()
		undone := pause(ctx, delay, resumed)
		r.mu.Lock()
		switch {
		case r.stopping: // Run drains it
			return nil, batcher.ErrDraining
		case undone || resumed != r.resumed:
			return nil, batcher.ErrResumed
		}
	}
	return r.queue.BeginDrain(), nil
}

// pause returns after a delay or when ctx ends. It returns true if undone is closed first.
func pause(ctx context.Context, delay time.Duration, undone <-chan struct{}) bool {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-undone:
		return true
	case <-ctx.Done():
	case <-timer.C:
	}
	return false
}

// stop publishes for good that no new requests are accepted, and ends the delays of drains.
// The caller must drain the queue. stop reports whether a drain was under way.
func (r *readiness) stop() (draining bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	draining = r.draining
	r.draining, r.stopping = true, true
	r.endDelays()
	r.publish()
	return draining
}

// resume ends a drain. It returns false if the process is stopping.
func (r *readiness) resume() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopping {
		return false
	}
	r.draining = false
	r.endDelays()
	r.queue.Resume()
	r.publish()
	return true
}

// endDelays ends the delays of drains. It requires mu.
func (r *readiness) endDelays() {
	close(r.resumed)
	r.resumed = make(chan struct{})
}

// publish updates gRPC health. It requires mu.
func (r *readiness) publish() {
	status := healthpb.HealthCheckResponse_NOT_SERVING
	if r.upstream && !r.draining {
		status = healthpb.HealthCheckResponse_SERVING
	}
	r.health.SetServingStatus("", status)
	r.health.SetServingStatus(pb.PrefillService_ServiceDesc.ServiceName, status)
	r.health.SetServingStatus(pb.ScoreService_ServiceDesc.ServiceName, status)
}
