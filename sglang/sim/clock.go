package sim

import (
	"sync"
	"time"
)

// clock turns simulated durations into real ones.
type clock struct {
	speed float64 // simulated seconds per real second
}

// real is how long a simulated number of seconds lasts here.
func (c clock) real(seconds float64) time.Duration {
	return time.Duration(seconds / c.speed * float64(time.Second))
}

// simulated is how many simulated seconds a real duration is.
func (c clock) simulated(d time.Duration) float64 { return d.Seconds() * c.speed }

// sleepUntil returns at t, or earlier when done is closed.
func sleepUntil(t time.Time, done <-chan struct{}) {
	d := time.Until(t)
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-done:
	}
}

// frontEnd is the single-threaded front end: work on it queues. It keeps to its
// own schedule and not to when timers really fire, so that their lateness does
// not add up while it is busy.
type frontEnd struct {
	mu     sync.Mutex
	free   time.Time // when all reserved work is done
	record bool      // of spans
	spans  []span    // reserved, oldest first
}

// maxSpans bounds what is remembered while no forward asks for it.
const maxSpans = 4096

// span is a stretch of uninterrupted work.
type span struct{ from, to time.Time }

// restart forgets all reserved work.
func (f *frontEnd) restart() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.free, f.spans = time.Time{}, nil
}

// reserve takes the next pieces of the front end's time, one after the other with
// nothing of another call between them, and returns when each ends.
func (f *frontEnd) reserve(now time.Time, pieces ...time.Duration) []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.free = later(f.free, now)
	from := f.free
	ends := make([]time.Time, len(pieces))
	for i, d := range pieces {
		f.free = f.free.Add(d)
		ends[i] = f.free
	}
	if n := len(f.spans); !f.record || f.free.Equal(from) {
		return ends
	} else if n > 0 && f.spans[n-1].to.Equal(from) {
		f.spans[n-1].to = f.free
	} else {
		f.spans = append(f.spans[max(0, n-maxSpans):], span{from, f.free})
	}
	return ends
}

// worked is how long the front end works between two times. It forgets what was
// before: from never decreases from one call to the next.
func (f *frontEnd) worked(from, to time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.spans) > 0 && !f.spans[0].to.After(from) {
		f.spans = f.spans[1:]
	}
	var sum time.Duration
	for _, s := range f.spans {
		sum += max(0, earlier(s.to, to).Sub(later(s.from, from)))
	}
	return sum
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
