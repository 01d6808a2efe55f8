package batcher

import "time"

// breaker stops sending to a server that fails every call, and bounds the
// repeated calls to one that fails some. Guarded by Batcher.mu.
type breaker struct {
	failures  int       // calls that the server failed, in a row
	openUntil time.Time // nothing is sent before, and one batch at a time after; zero: closed
	pause     time.Duration
	retries   float64 // calls that may be repeated now
}

const (
	firstPause   = time.Second      // a busy server has worked off something by then
	longestPause = 15 * time.Second // a restarted server is found soon enough
	mostRetries  = 10               // saved up while all is well
	retryShare   = 0.1              // of the calls may be repeats: ten times that is a storm
	firstBackoff = 100 * time.Millisecond
	longBackoff  = 2 * time.Second
)

func newBreaker() breaker { return breaker{retries: mostRetries} }

// succeeded notes a call that the server answered, whatever it answered.
func (k *breaker) succeeded() {
	k.failures, k.openUntil, k.pause = 0, time.Time{}, 0
	k.retries = min(mostRetries, k.retries+retryShare)
}

// failed notes a call that the server failed; after limit of them in a row the
// breaker opens, each time for twice as long.
func (k *breaker) failed(limit int, now time.Time) {
	k.failures++
	if k.failures < limit || k.open(now) {
		return
	}
	k.pause = min(max(firstPause, 2*k.pause), longestPause)
	k.openUntil = now.Add(k.pause)
}

// slots is how many of the batches in flight the breaker lets be.
func (k *breaker) slots(most int, now time.Time) int {
	switch {
	case k.openUntil.IsZero():
		return most
	case k.open(now):
		return 0
	}
	return 1
}

// open says whether nothing is sent now.
func (k *breaker) open(now time.Time) bool { return now.Before(k.openUntil) }

// retry takes one call from the budget of repeats.
func (k *breaker) retry() bool {
	if k.retries < 1 {
		return false
	}
	k.retries--
	return true
}

// backoff is the pause before the repeat after the attempt-th call (from 1), of
// which a random part is left out, so that proxies don't repeat in step.
func backoff(attempt int, random float64) time.Duration {
	d := min(firstBackoff<<min(attempt-1, 10), longBackoff)
	return d/2 + time.Duration(random*float64(d/2))
}
