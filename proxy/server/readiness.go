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

// livenessService is the health service name that says only that the process
// answers: true while SGLang is away, too, so that nobody restarts the proxy
// for it.
const livenessService = "liveness"

// drainer is the queue, as far as readiness drains it.
type drainer interface {
	BeginDrain() (wait func(context.Context) error)
	Resume()
}

// readiness joins the two conditions under which requests are served, SGLang
// there and no drain, and publishes the result as gRPC health.
type readiness struct {
	health *health.Server
	queue  drainer

	mu       sync.Mutex // guards all below
	upstream bool
	reason   string // why upstream is false
	draining bool
	stopping bool          // the process ends: draining can't be undone
	resumed  chan struct{} // closed when the drain is undone or the process ends, and then another
}

// newReadiness is not ready, for a reason.
func newReadiness(queue drainer, reason string) *readiness {
	r := &readiness{health: health.NewServer(), queue: queue, reason: reason, resumed: make(chan struct{})}
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

// drain publishes that no new requests are taken, and after a delay, or once ctx ends,
// begins to drain the queue. wait returns when everything accepted has ended. The queue
// follows what is published under one lock, as in resume.
func (r *readiness) drain(ctx context.Context, delay time.Duration) (wait func(context.Context) error, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining = true
	r.publish()
	if resumed := r.resumed; delay > 0 {
		if r.stopping {
			return nil, batcher.ErrDraining // whoever stops it also drains it, after a delay of its own
		}
		r.mu.Unlock()
		undone := pause(ctx, delay, resumed)
		r.mu.Lock()
		switch {
		case r.stopping: // whoever stops it also drains it
			return nil, batcher.ErrDraining
		case undone || resumed != r.resumed:
			return nil, batcher.ErrResumed
		}
	}
	return r.queue.BeginDrain(), nil
}

// pause returns after a delay, or once ctx ends, or with true once undone is closed.
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

// stop is drain for good, and leaves it to the caller; delays end. It returns whether
// a drain was under way.
func (r *readiness) stop() (draining bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	draining = r.draining
	r.draining, r.stopping = true, true
	r.endDelays()
	r.publish()
	return draining
}

// resume ends a drain, unless the process is stopping: then it returns false.
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

// endDelays wakes drains that wait for their delay. It requires mu.
func (r *readiness) endDelays() {
	close(r.resumed)
	r.resumed = make(chan struct{})
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
