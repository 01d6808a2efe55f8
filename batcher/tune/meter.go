package tune

import "time"

// Meter observes the batches in flight: what they cost the server, and when it
// will be done with them. It takes the server for one queue that is served in
// order, so a batch occupies it from the end of the one before, or from its own
// release, to its end.
type Meter struct {
	learner
	progress time.Time     // when the server last went on to another batch
	pending  time.Duration // predicted sum of the batches in flight

	// Batches in flight together share forwards and end almost together, so
	// their times mean something only as a sum: of those since the last lesson.
	batches  int
	lesson   Account
	took     time.Duration
	together bool // some of them were in flight together

	recent struct{ prompts, tokens, uncached float64 } // decayed sums
}

// Account is what a batch came to.
type Account struct {
	Prompts   int
	Tokens    float64       // prompt tokens
	Uncached  float64       // of these, tokens that were computed
	Predicted time.Duration // its own part, from Sent
	Released  time.Time
	Clean     bool // every member was answered in one call
}

const (
	lessonBatches = 4                    // about two rounds of two in flight
	lessonTime    = 5 * time.Millisecond // less is lost in the scheduling of goroutines
)

// Cost returns what was learned.
func (m *Meter) Cost() Cost { return m.cost }

// Sent notes a batch that goes now, beside inFlight others. It predicts the
// batch's own time and the total time to its end; both are 0 before Cost is ready.
func (m *Meter) Sent(prompts int, uncached float64, inFlight int, now time.Time) (own, total time.Duration) {
	if inFlight == 0 {
		m.progress, m.pending = now, 0
	} else {
		m.together = true
	}
	if own = m.cost.Predict(prompts, uncached); own > 0 {
		total = m.Backlog(now) + own
	}
	m.pending += own
	return own, total
}

// Ended notes the end of a batch; inFlight others are left.
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
		m.restart(inFlight) // failures and repeats teach nothing of the cost
		return
	}
	r := &m.recent
	r.prompts = memory*r.prompts + float64(a.Prompts)
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

// Backlog returns the time until the server is done with what is in flight.
func (m *Meter) Backlog(now time.Time) time.Duration {
	return max(0, m.pending-now.Sub(m.progress))
}

// UncachedShare returns the part of the recent prompts' tokens that was computed.
func (m *Meter) UncachedShare() float64 {
	if m.recent.tokens == 0 {
		return 1
	}
	return m.recent.uncached / m.recent.tokens
}

// prompt returns the seconds that a recent prompt cost, the part of its batch
// left out.
func (m *Meter) prompt() float64 {
	if m.recent.prompts == 0 {
		return m.cost.PerRequest
	}
	return m.cost.PerRequest + m.cost.PerToken*m.recent.uncached/m.recent.prompts
}
