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
	mu   sync.Mutex
	free time.Time // when all reserved work is done
}

// restart forgets all reserved work.
func (f *frontEnd) restart() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.free = time.Time{}
}

// reserve takes the next pieces of the front end's time, one after the other with
// nothing of another call between them, and returns when each ends.
func (f *frontEnd) reserve(now time.Time, pieces ...time.Duration) []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.free = later(f.free, now)
	ends := make([]time.Time, len(pieces))
	for i, d := range pieces {
		f.free = f.free.Add(d)
		ends[i] = f.free
	}
	return ends
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
