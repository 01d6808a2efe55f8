package batcher

import (
	"fmt"
	"math"
	"time"
)

// Plan is what ModeAuto has chosen, and why.
type Plan struct {
	BatchSize   int
	BatchTokens int64 // expected uncached ones; 0: no bound
	MaxWait     time.Duration
	MaxInFlight int
	PrefixHold  bool   // whether prompts of the usual length wait for a leader
	Why         string // for people
}

// What ModeAuto starts from and keeps to.
const (
	autoLargest  = 64                   // beyond this nothing was gained on any server measured
	autoSmallest = 16                   // below this a misjudged cost per batch would be dear: 8 gave away 6 % on a real server
	autoForwards = 8                    // forwards of the server in one batch: enough to fill them, and little to wait for
	autoOverhead = 0.01                 // share of a batch's time that its fixed cost may be
	autoGather   = 5 * time.Millisecond // the callers of one batch come back within this
	autoWaiting  = 1.0                  // share of a prompt's time to wait for company at most
	autoInFlight = 2                    // one is computed while the next is parsed
	autoMost     = 8                    // batches in flight to try
)

// tuner chooses for ModeAuto. The size is an equal share of all prompts that are
// here for each batch in flight and the one that waits, so that a slot never
// stands empty for want of prompts, or fewer where the learned cost says that
// they carry the fixed cost as well. The batches in flight are
// found by trying: see trial.
type tuner struct {
	inFlight int // 0: autoInFlight
	trial    trial
	size     int // chosen last
	tokens   int64
	wait     time.Duration
	bound    string // what bounds size
}

// choose chooses for a number of requests that wait or are in flight.
func (t *tuner) choose(outstanding int, s Server, m *meter) {
	if t.inFlight == 0 {
		t.inFlight = autoInFlight
	}
	slots := t.slots()
	t.size, t.bound = (outstanding+slots)/(slots+1), "all prompts here shared among the batches in flight and the next"
	t.wait, t.tokens = autoGather, 0
	prompt := m.cost.PerRequest + m.cost.PerToken*m.meanUncached()
	if m.cost.Ready() && prompt > 0 {
		t.wait = min(t.wait, seconds(autoWaiting*prompt))
		if enough := m.cost.PerBatch / autoOverhead / prompt; enough < float64(t.size) {
			t.size, t.bound = max(min(t.size, autoSmallest), int(enough)), "as many as carry a batch's fixed cost"
		}
	}
	if t.size > autoLargest {
		t.size, t.bound = autoLargest, "the largest that gains anything"
	}
	t.size = max(1, t.size)
	if s.ForwardTokens > 0 { // a budget of prompt tokens, of which only some are computed
		t.tokens = int64(float64(autoForwards*s.ForwardTokens) / max(m.uncachedShare(), 0.1))
	}
}

// slots is how many batches may be in flight now.
func (t *tuner) slots() int {
	if t.trial.running && t.trial.round%2 == 1 {
		return t.trial.inFlight
	}
	return t.inFlight
}

// worthHolding says whether to let requests wait for the answer of another that
// computes so many new tokens they may share: that costs them one more batch.
func (t *tuner) worthHolding(c Cost, tokens float64, followers int) bool {
	return !c.Ready() || c.PerToken*tokens*float64(max(1, followers)) > c.PerBatch
}

// plan tells what was chosen.
func (t *tuner) plan(m *meter) Plan {
	p := Plan{
		BatchSize: t.size, BatchTokens: t.tokens, MaxWait: t.wait, MaxInFlight: t.slots(),
		PrefixHold: t.worthHolding(m.cost, m.meanUncached(), 1),
	}
	if !m.cost.Ready() {
		p.Why = fmt.Sprintf("size %d: %s; nothing learned yet of the cost", t.size, t.bound)
	} else {
		p.Why = fmt.Sprintf("size %d: %s; a batch costs %.1f ms, a prompt %.1f ms, a thousand tokens %.1f ms (predictions are off by %.0f %%)",
			t.size, t.bound, 1e3*m.cost.PerBatch, 1e3*m.cost.PerRequest, 1e6*m.cost.PerToken, 100*m.cost.Error)
	}
	p.Why += "; " + t.trial.said
	return p
}

// trial compares two numbers of batches in flight by the work the server gets
// done, turn and turn about, while requests wait all the time. It is safe: the
// other number differs by one. It is rare: after each vain trial the next comes
// twice as late.
type trial struct {
	running  bool
	inFlight int // the number on trial
	round    int // even: as before, odd: on trial
	batches  int // ended in this round
	began    time.Time
	price    Cost    // by which work is counted: the same in all rounds
	work     float64 // done in this round
	rate     [2]float64
	pause    int // batches until the next trial
	lastGap  int
	down     bool // the next trial is of fewer
	said     string
}

const (
	trialRounds  = 6  // three of each
	trialBatches = 12 // of a round; the first two are the other number's still
	trialSkip    = 2
	trialGain    = 0.03 // less is not told from noise
	firstGap     = 64   // batches before the first trial, and after one that succeeded
	longestGap   = 8192
)

// ended takes the end of a batch; busy says whether requests still wait.
func (t *tuner) ended(a account, c Cost, busy bool, now time.Time) {
	r := &t.trial
	if !busy {
		r.running = false // rates mean something only while there is always work
		return
	}
	if !r.running {
		if r.lastGap == 0 {
			r.lastGap, r.pause, r.said = firstGap, firstGap, "batches in flight not tried yet"
		}
		if r.pause--; r.pause > 0 {
			return
		}
		t.begin(c, now)
		return
	}
	if r.batches++; r.batches <= trialSkip {
		r.began, r.work = now, 0
		return
	}
	r.work += r.price.work(a)
	if r.batches < trialBatches {
		return
	}
	r.rate[r.round%2] += r.work / math.Max(1e-9, now.Sub(r.began).Seconds())
	r.batches = 0
	if r.round++; r.round == trialRounds {
		t.decide()
	}
}

// work is what a batch is worth in seconds of the server, its fixed cost left out:
// the same for the same prompts, however they were batched.
func (c Cost) work(a account) float64 {
	if work := c.PerRequest*float64(a.prompts) + c.PerToken*a.uncached; work > 0 {
		return work
	}
	return float64(a.prompts)
}

func (t *tuner) begin(c Cost, now time.Time) {
	r := &t.trial
	other := t.inFlight + 1
	if r.down && t.inFlight > 1 || other > autoMost {
		other = t.inFlight - 1
	}
	r.running, r.inFlight, r.round, r.batches, r.rate, r.began, r.price = true, other, 0, 0, [2]float64{}, now, c
}

func (t *tuner) decide() {
	r := &t.trial
	r.running = false
	gain := r.rate[1]/math.Max(1e-12, r.rate[0]) - 1
	r.said = fmt.Sprintf("%d in flight do %+.1f %% against %d", r.inFlight, 100*gain, t.inFlight)
	if gain > trialGain {
		t.inFlight, r.lastGap = r.inFlight, firstGap
	} else {
		r.down = !r.down
		r.lastGap = min(2*r.lastGap, longestGap)
	}
	r.pause = r.lastGap
}
