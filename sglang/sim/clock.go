package sim

import (
	"sync"
	"time"
)

// clock turns simulated durations into real ones.
type clock struct {
	speed float64 // simulated seconds per real second
}

// real returns the real duration of simulated seconds.
func (c clock) real(seconds float64) time.Duration {
	return time.Duration(seconds / c.speed * float64(time.Second))
}

// simulated returns the simulated seconds of a real duration.
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

// frontEnd is the front end: processes of one thread, where work queues. It follows its own
// schedule and not the times at which timers fire, so late timers do not add up while it is
// busy.
type frontEnd struct {
	mu     sync.Mutex
	free   []time.Time // of each process: when all reserved work is done
	record bool        // keeps stretches
	busy   []stretch   // reserved, oldest first
}

// maxStretches bounds the stretches that are kept while no forward asks for them.
const maxStretches = 4096

// stretch is uninterrupted work.
type stretch struct{ from, to time.Time }

// restart forgets all reserved work.
func (f *frontEnd) restart() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.free)
	f.busy = nil
}

// reserve reserves consecutive pieces of the time of the process that is free first, with no
// work of another call between them, and returns the end of each.
func (f *frontEnd) reserve(now time.Time, pieces ...time.Duration) []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	first := 0
	for i, t := range f.free {
		if t.Before(f.free[first]) {
			first = i
		}
	}
	from := later(f.free[first], now)
	to := from
	ends := make([]time.Time, len(pieces))
	for i, d := range pieces {
		to = to.Add(d)
		ends[i] = to
	}
	f.free[first] = to
	switch n := len(f.busy); {
	case !f.record || to.Equal(from):
	case n > 0 && f.busy[n-1].to.Equal(from):
		f.busy[n-1].to = to
	default:
		f.busy = append(f.busy[max(0, n-maxStretches):], stretch{from, to})
	}
	return ends
}

// worked returns how long the front end works between two times. It forgets earlier work,
// so from must never decrease from one call to the next.
func (f *frontEnd) worked(from, to time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.busy) > 0 && !f.busy[0].to.After(from) {
		f.busy = f.busy[1:]
	}
	var sum time.Duration
	for _, s := range f.busy {
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
