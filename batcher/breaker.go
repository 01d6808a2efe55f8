package batcher

import "time"

// breaker stops the sending to a server that fails every call, and bounds the repeated
// calls to a server that fails some. It is guarded by Batcher.mu.
type breaker struct {
	failures  int       // calls that the server failed, in a row
	openUntil time.Time // nothing is sent before this, and one batch at a time after; zero: closed
	pause     time.Duration
	retries   float64 // calls that may be repeated now
}

const (
	minPause   = time.Second      // a busy server has finished some work by then
	maxPause   = 15 * time.Second // finds a restarted server soon enough
	maxSaved   = 10               // repeats that calls without failure save up
	retryShare = 0.1              // repeats per call; ten times as many would be a retry storm
	minBackoff = 100 * time.Millisecond
	maxBackoff = 2 * time.Second
)

// succeeded records a call that the server answered, and reports whether that closed the
// breaker.
func (k *breaker) succeeded() (closed bool) {
	closed = !k.openUntil.IsZero()
	k.failures, k.openUntil, k.pause = 0, time.Time{}, 0
	k.retries = min(maxSaved, k.retries+retryShare)
	return closed
}

// failed records a call that the server failed. After limit failures in a row the breaker
// opens, each time for twice as long.
func (k *breaker) failed(limit int, now time.Time) {
	k.failures++
	if k.failures < limit || k.open(now) {
		return
	}
	k.pause = min(max(minPause, 2*k.pause), maxPause)
	k.openUntil = now.Add(k.pause)
}

// slots returns how many batches may be in flight: limit, or fewer.
func (k *breaker) slots(limit int, now time.Time) int {
	switch {
	case k.openUntil.IsZero():
		return limit
	case k.open(now):
		return 0
	}
	return 1
}

// open reports whether nothing is sent now.
func (k *breaker) open(now time.Time) bool { return now.Before(k.openUntil) }

// retry takes one call from the budget of repeats.
func (k *breaker) retry() bool {
	if k.retries < 1 {
		return false
	}
	k.retries--
	return true
}

// backoff returns the pause after the failed call number attempt, from 1. A random part
// is left out, so that proxies don't repeat in step.
func backoff(attempt int, random float64) time.Duration {
	d := min(minBackoff<<min(attempt-1, 10), maxBackoff)
	return d/2 + time.Duration(random*float64(d/2))
}
