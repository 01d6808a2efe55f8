// Package tune learns the cost of a batch on the server.
//
// A Meter observes batches when they are sent and when they end. It learns their Cost and
// predicts the duration of the next.
//
// The package is pure: it has no locks and no clock. Times are arguments. Its types must
// be used by one goroutine at a time.
//
// Read Cost first, then Meter.
package tune

import (
	"math"
	"time"
)

// Cost is the cost of a batch on the server, learned from the batches so far:
//
//	seconds = PerBatch + PerRequest·prompts + PerToken·uncached tokens
type Cost struct {
	PerBatch, PerRequest, PerToken float64 // seconds

	Batches int     // number of batches it was learned from; see Ready
	Error   float64 // mean relative error of recent predictions
}

const (
	readyBatches = 12   // fewer are not enough to fit three numbers
	memory       = 0.98 // weight of a lesson relative to the next: about fifty are remembered
	errorMemory  = 0.1  // weight of one error: about ten are remembered
	kiloToken    = 1000 // tokens are counted in thousands, so that the sums have similar magnitudes
	solveRounds  = 1000 // some 15 µs; the last solution is the start, so few are needed

	// delivery is the max time to deliver an answer to its caller.
	delivery = 5 * time.Millisecond
)

// Ready reports whether enough is learned to predict.
func (c Cost) Ready() bool { return c.Batches >= readyBatches }

// Predict returns the duration of a batch, or 0 while Ready is false.
func (c Cost) Predict(prompts int, uncachedTokens float64) time.Duration {
	if !c.Ready() {
		return 0
	}
	return seconds(c.PerBatch + c.PerRequest*float64(prompts) + c.PerToken*max(0, uncachedTokens))
}

// AtLeast returns a lower bound of a predicted duration, by the error of recent predictions.
func (c Cost) AtLeast(d time.Duration) time.Duration {
	return time.Duration(float64(d) * max(0.25, 1-2*c.Error))
}

// AtMost returns an upper bound of a predicted duration, delivery of the answer included,
// by the error of recent predictions.
func (c Cost) AtMost(d time.Duration) time.Duration {
	return delivery + time.Duration(float64(d)*min(4, 1.1+2*c.Error))
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// learner fits Cost to recent lessons, by non-negative least squares of the relative
// error.
type learner struct {
	Cost Cost
	best [3]float64 // the solution: Cost with tokens in thousands

	// Decayed sums of x·xᵀ and x·y over the lessons. x and y are divided by the seconds
	// of the lesson, so that a short lesson counts as much as a long one.
	xx [3][3]float64
	xy [3]float64
}

// learn learns from batches that together kept the server busy for took.
func (l *learner) learn(batches, prompts int, uncachedTokens float64, took time.Duration) {
	c, y := &l.Cost, took.Seconds()
	if c.Ready() {
		predicted := float64(batches)*c.PerBatch + float64(prompts)*c.PerRequest + uncachedTokens*c.PerToken
		c.Error += errorMemory * (min(math.Abs(predicted-y)/y, 2) - c.Error)
	}
	x := [3]float64{float64(batches) / y, float64(prompts) / y, uncachedTokens / kiloToken / y}
	for i := range x {
		for j := range x {
			l.xx[i][j] = memory*l.xx[i][j] + x[i]*x[j]
		}
		l.xy[i] = memory*l.xy[i] + x[i]
	}
	c.Batches += batches
	NonNegative(l.best[:], [][]float64{l.xx[0][:], l.xx[1][:], l.xx[2][:]}, l.xy[:], solveRounds)
	c.PerBatch, c.PerRequest, c.PerToken = l.best[0], l.best[1], l.best[2]/kiloToken
}

// NonNegative improves a, a solution of the non-negative least squares problem with the
// normal equations xx·a = xy, in at most the given number of rounds.
//
// It descends along one coordinate after the other. For non-negative least squares that
// converges to the optimum.
func NonNegative(a []float64, xx [][]float64, xy []float64, rounds int) {
	const enough = 1e-12
	for range rounds {
		moved := 0.0
		for j := range a {
			if xx[j][j] == 0 {
				continue
			}
			left := xy[j]
			for k := range a {
				left -= xx[j][k] * a[k]
			}
			step := max(-a[j], left/xx[j][j])
			a[j] += step
			moved = max(moved, math.Abs(step)*math.Sqrt(xx[j][j]))
		}
		if moved < enough {
			return
		}
	}
}

// Meter observes the batches in flight: their cost, and when the server will have
// finished them. It models the server as one queue that is served in order. So a batch
// occupies the server from the end of the one before, or from its own release, to its
// end.
type Meter struct {
	learner
	progress time.Time     // when the server last began another batch
	pending  time.Duration // predicted sum of the batches in flight

	// Batches in flight together share forwards and end almost together, so only the
	// sum of their times has a meaning. These are the sums since the last lesson.
	batches  int
	lesson   Account
	took     time.Duration
	together bool // some of them were in flight together

	recent struct{ tokens, uncached float64 } // decayed sums
}

// Account is the work of a batch.
type Account struct {
	Prompts   int
	Tokens    float64       // prompt tokens
	Uncached  float64       // of these, not cached
	Predicted time.Duration // own time, from Sent
	Released  time.Time
	Clean     bool // every member was answered in one call
}

const (
	lessonBatches = 16                   // two rounds of eight in flight
	lessonTime    = 5 * time.Millisecond // shorter times are noise of goroutine scheduling
)

// Sent records a batch that is sent now, while inFlight others are in flight. It predicts
// the batch's own time and the total time to its end. Both are 0 until Cost is ready.
func (m *Meter) Sent(prompts int, uncached float64, inFlight int, now time.Time) (own, total time.Duration) {
	if inFlight == 0 {
		m.progress, m.pending = now, 0
	} else {
		m.together = true
	}
	if own = m.Cost.Predict(prompts, uncached); own > 0 {
		total = m.Backlog(now) + own
	}
	m.pending += own
	return own, total
}

// Ended records the end of a batch. inFlight others are left.
func (m *Meter) Ended(a Account, inFlight int, now time.Time) {
	busy := now.Sub(m.progress)
	if a.Released.After(m.progress) {
		busy = now.Sub(a.Released)
	}
	m.progress = now
	if m.pending -= a.Predicted; m.pending < 0 || inFlight == 0 {
		m.pending = 0
	}
	if !a.Clean {
		m.restart(inFlight) // failures and repeats say nothing about the cost
		return
	}
	r := &m.recent
	r.tokens, r.uncached = memory*r.tokens+a.Tokens, memory*r.uncached+a.Uncached
	m.batches++
	m.lesson.Prompts += a.Prompts
	m.lesson.Uncached += a.Uncached
	m.took += busy
	if m.took >= lessonTime && (m.batches >= lessonBatches || !m.together) {
		m.learn(m.batches, m.lesson.Prompts, m.lesson.Uncached, m.took)
		m.restart(inFlight)
	}
}

// restart begins the next lesson.
func (m *Meter) restart(inFlight int) {
	m.batches, m.lesson, m.took, m.together = 0, Account{}, 0, inFlight > 0
}

// Backlog returns the predicted time until the server has finished the batches in flight.
func (m *Meter) Backlog(now time.Time) time.Duration {
	return max(0, m.pending-now.Sub(m.progress))
}

// UncachedShare returns the share of recent prompt tokens that was not cached.
func (m *Meter) UncachedShare() float64 {
	if m.recent.tokens == 0 {
		return 1
	}
	return m.recent.uncached / m.recent.tokens
}
