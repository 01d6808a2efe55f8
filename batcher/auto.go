package batcher

import (
	"fmt"
	"time"
)

// Plan is what ModeAuto has chosen, and why.
type Plan struct {
	BatchSize   int
	BatchTokens int64 // the budget of Settings.BatchForwards in prompt tokens; 0: no bound
	MaxWait     time.Duration
	MaxInFlight int
	PrefixHold  bool   // whether a single prompt, too, waits for another that computes what they share
	Why         string // for people
}

// What ModeAuto starts from and keeps to.
const (
	autoLargest  = 64                   // beyond this nothing was gained on any server measured
	autoSmallest = 16                   // below this a misjudged cost per batch would be dear: 8 gave away 6 % on a real server
	autoOverhead = 0.01                 // share of a batch's time that its fixed cost may be
	autoGather   = 5 * time.Millisecond // the callers of one batch come back within this
	autoWaiting  = 1.0                  // share of a prompt's time to wait for company at most
	autoInFlight = 2                    // one is computed while the next is parsed
	autoMost     = 8                    // batches in flight to try
)

// tuner chooses for ModeAuto. The size is an equal share of all prompts that are
// here for each batch in flight and the one that waits, so that a slot never
// stands empty for want of prompts, or fewer where the learned cost says that
// they carry the fixed cost as well. While the server is busy those who were
// answered just now count as here: they are about to come back. How many batches
// are in flight, whether prompts wait for what another computes for them, and
// whether a few callers are gathered, is found by trying: see trial.
type tuner struct {
	size  int // chosen last
	wait  time.Duration
	bound string // what bounds size

	inFlight int // 0: autoInFlight
	more     trial
	other    int  // the number on trial
	fewer    bool // the next trial is of fewer
	price    Cost // by which work is counted in all rounds of a trial

	loose  bool // a single prompt does not wait for what another computes for it
	hold   trial
	holds  uint64        // so far, when the last batch ended
	idle   time.Duration // in which nothing was in flight, so far
	ceased time.Time     // when the last batch in flight ended; zero: some are in flight

	gather gatherer
}

// choose chooses for a number of requests that wait and that are in flight.
func (t *tuner) choose(waiting, inFlight int, m *meter) {
	if t.inFlight == 0 {
		t.inFlight = autoInFlight
		t.gather.trial = trial{gap: trialBatches, pause: trialBatches}
	}
	here := waiting + inFlight
	t.gather.lately = max(t.gather.lately, here)
	if inFlight > 0 {
		here = t.gather.crowd()
	}
	slots := t.slots()
	t.size, t.bound = (here+slots)/(slots+1), "all prompts here shared among the batches in flight and the next"
	if t.gather.now() {
		t.size, t.bound = t.gather.crowd(), "all that were here at once lately, one batch at a time"
	}
	t.wait = autoGather
	prompt := m.cost.PerRequest + m.cost.PerToken*m.meanUncached()
	if m.cost.Ready() && prompt > 0 {
		t.wait = min(t.wait, seconds(autoWaiting*prompt))
		if enough := m.cost.PerBatch / autoOverhead / prompt; enough < float64(t.size) && !t.gather.now() {
			t.size, t.bound = max(min(t.size, autoSmallest), int(enough)), "as many as carry a batch's fixed cost"
		}
	}
	if t.size > autoLargest {
		t.size, t.bound = autoLargest, "the largest that gains anything"
	}
	t.size = max(1, t.size)
}

// slots is how many batches may be in flight now.
func (t *tuner) slots() int {
	switch {
	case t.gather.now():
		return 1
	case t.more.other():
		return t.other
	}
	return t.inFlight
}

// holding says whether a single request, too, waits now for the answer of another
// that computes what they share. That several wait is never in doubt.
func (t *tuner) holding() bool {
	return t.loose == t.hold.other() && !t.gather.now()
}

// plan tells what was chosen.
func (t *tuner) plan(m *meter, tokens int64) Plan {
	p := Plan{
		BatchSize: t.size, BatchTokens: tokens, MaxWait: t.wait, MaxInFlight: t.slots(),
		PrefixHold: !t.loose && t.gather.callers == 0,
	}
	if !m.cost.Ready() {
		p.Why = fmt.Sprintf("size %d: %s; nothing learned yet of the cost", t.size, t.bound)
	} else {
		p.Why = fmt.Sprintf("size %d: %s; a batch costs %.1f ms, a prompt %.1f ms, a thousand tokens %.1f ms (predictions are off by %.0f %%)",
			t.size, t.bound, 1e3*m.cost.PerBatch, 1e3*m.cost.PerRequest, 1e6*m.cost.PerToken, 100*m.cost.Error)
	}
	for _, r := range []*trial{&t.more, &t.hold, &t.gather.trial} {
		if r.said != "" {
			p.Why += "; " + r.said
		}
	}
	return p
}

// sent notes that a batch goes, beside inFlight others.
func (t *tuner) sent(inFlight int, now time.Time) {
	if inFlight == 0 && !t.ceased.IsZero() {
		t.idle += now.Sub(t.ceased)
	}
	t.ceased = time.Time{}
}

// ended takes the end of a batch, of which inFlight are left. With waiting,
// requests are in the queue still; holds is how many were made to wait so far.
func (t *tuner) ended(a account, c Cost, inFlight int, waiting bool, holds uint64, now time.Time) {
	if inFlight == 0 {
		t.ceased = now
	}
	held := holds != t.holds
	t.holds = holds
	if !waiting {
		t.more.running = false // more in flight mean something only while there is always work
	}
	t.gather.count(t.idle, held, now)
	switch {
	case t.more.running:
		if gain, over := t.more.ended(t.price.work(a), now); over {
			t.decideMore(gain)
		}
	case t.hold.running:
		if gain, over := t.hold.ended(float64(a.prompts), now.Add(-t.idle)); over {
			t.decideHold(gain)
		}
	case t.gather.trial.running:
		if gain, over := t.gather.trial.ended(float64(a.prompts), now); over { // not by tokens: gathered, they compute what they share twice
			t.gather.decide(gain)
		}
	case !waiting && t.gather.due(t.loose):
		t.gather.trial.begin(gatherWin)
	case (held || t.loose) && t.gather.callers == 0 && t.hold.due():
		t.hold.begin(noWin)
	case waiting && t.more.due():
		t.other, t.price = t.inFlight+1, c
		if t.fewer && t.inFlight > 1 || t.other > autoMost {
			t.other = t.inFlight - 1
		}
		t.more.begin(noWin)
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

func (t *tuner) decideMore(gain float64) {
	t.more.said = fmt.Sprintf("%d in flight do %+.1f %% against %d", t.other, 100*gain, t.inFlight)
	if gain > trialGain {
		t.inFlight = t.other
	} else {
		t.fewer = !t.fewer
	}
}

func (t *tuner) decideHold(gain float64) {
	does := "not to hold a single follower"
	if t.loose {
		does = "to hold a single follower"
	}
	t.hold.said = fmt.Sprintf("%s does %+.1f %%", does, 100*gain)
	if gain > trialGain {
		t.loose = !t.loose
	}
}
