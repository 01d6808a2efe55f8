package batcher

import "time"

// meter observes the batches in flight: what they cost the server, and when it
// will be done with them. It takes the server for one queue that is served in
// order, so a batch occupies it from the end of the one before, or from its own
// release, to its end.
type meter struct {
	learner
	progress time.Time     // when the server last went on to another batch
	pending  time.Duration // predicted sum of the batches in flight

	// Batches in flight together share forwards and end almost together, so
	// their times mean something only as a sum: of those since the last lesson.
	lesson   account
	took     time.Duration
	together bool // some of them were in flight together

	prompts, prompt, computed float64 // recent prompts, their tokens, and those computed, decayed
}

// account is what a batch came to.
type account struct {
	batches   int
	prompts   int
	uncached  float64
	tokens    float64
	predicted time.Duration // its own part, as predicted
	released  time.Time
	clean     bool // every member was answered in one call
}

const (
	lessonBatches = 4                    // about two rounds of two in flight
	lessonTime    = 5 * time.Millisecond // less is lost in the scheduling of goroutines
)

// sent notes a batch that goes now, beside inFlight others, and predicts the
// time to its end; 0 while too little is known.
func (m *meter) sent(prompts int, uncached float64, inFlight int, now time.Time) (own, total time.Duration) {
	if inFlight == 0 {
		m.progress, m.pending = now, 0
	} else {
		m.together = true
	}
	own = m.cost.Predict(prompts, uncached)
	total = m.backlog(now) + own
	if own == 0 {
		total = 0
	}
	m.pending += own
	return own, total
}

// ended notes the end of a batch; inFlight others are left.
func (m *meter) ended(a account, inFlight int, now time.Time) {
	busy := now.Sub(m.progress)
	if a.released.After(m.progress) {
		busy = now.Sub(a.released)
	}
	m.progress = now
	if m.pending -= a.predicted; m.pending < 0 || inFlight == 0 {
		m.pending = 0
	}
	if !a.clean {
		m.lesson, m.took, m.together = account{}, 0, inFlight > 0 // failures and repeats teach nothing of the cost
		return
	}
	m.prompts = memory*m.prompts + float64(a.prompts)
	m.prompt, m.computed = memory*m.prompt+a.tokens, memory*m.computed+a.uncached
	m.lesson.batches += a.batches
	m.lesson.prompts += a.prompts
	m.lesson.uncached += a.uncached
	m.took += busy
	if m.took >= lessonTime && (m.lesson.batches >= lessonBatches || !m.together) {
		m.learn(m.lesson.batches, m.lesson.prompts, m.lesson.uncached, m.took)
		m.lesson, m.took, m.together = account{}, 0, inFlight > 0
	}
}

// backlog is the time until the server is done with what is in flight.
func (m *meter) backlog(now time.Time) time.Duration {
	return max(0, m.pending-now.Sub(m.progress))
}

// meanUncached is the tokens of a recent prompt that were computed.
func (m *meter) meanUncached() float64 {
	if m.prompts == 0 {
		return 0
	}
	return m.computed / m.prompts
}

// uncachedShare is the part of the recent prompts' tokens that was computed.
func (m *meter) uncachedShare() float64 {
	if m.prompt == 0 {
		return 1
	}
	return m.computed / m.prompt
}
