package batcher

import (
	"fmt"
	"math"
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
	autoCrowd    = 8                    // batches over which the most that are here at once are sought
	autoIdle     = 0.2                  // share of idle time from which it's not the callers who wait for the server
)

// tuner chooses for ModeAuto. The size is an equal share of all prompts that are
// here for each batch in flight and the one that waits, so that a slot never
// stands empty for want of prompts, or fewer where the learned cost says that
// they carry the fixed cost as well. How many batches are in flight, whether
// prompts wait for what another computes for them, and whether those of a few callers
// who come back together go as one batch, is found by trying: see trial.
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

	gathered int // so many callers' prompts go as one batch, and none beside it; 0: they don't
	gather   trial
	began    time.Time     // when that trial did
	idled    time.Duration // idle before it
	most     int           // prompts that were here at once, in the last so many batches
	lately   int           // and since,
	batches  int           // in this many
}

// choose chooses for a number of requests that wait or are in flight.
func (t *tuner) choose(outstanding int, m *meter) {
	if t.inFlight == 0 {
		t.inFlight = autoInFlight
		t.gather = trial{gap: trialBatches, pause: trialBatches, win: gatherWin}
	}
	t.lately = max(t.lately, outstanding)
	slots := t.slots()
	t.size, t.bound = (outstanding+slots)/(slots+1), "all prompts here shared among the batches in flight and the next"
	if t.gathering() {
		t.size, t.bound = t.crowd(), "all prompts that were here at once lately"
	}
	t.wait = autoGather
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
}

// slots is how many batches may be in flight now.
func (t *tuner) slots() int {
	if t.gathering() {
		return 1
	}
	if t.more.other() {
		return t.other
	}
	return t.inFlight
}

// crowd is how many prompts were here at once lately.
func (t *tuner) crowd() int { return max(t.most, t.lately) }

// gathering says whether all prompts go as one batch now.
func (t *tuner) gathering() bool {
	return (t.gathered > 0) != t.gather.other()
}

// holding says whether a single request, too, waits now for the answer of another
// that computes what they share. That several wait is never in doubt.
func (t *tuner) holding() bool {
	if t.gathered == 0 && t.gather.other() {
		return false // it would not go with the others
	}
	return t.loose == t.hold.other()
}

// plan tells what was chosen.
func (t *tuner) plan(m *meter, tokens int64) Plan {
	p := Plan{
		BatchSize: t.size, BatchTokens: tokens, MaxWait: t.wait, MaxInFlight: t.slots(),
		PrefixHold: !t.loose,
	}
	if !m.cost.Ready() {
		p.Why = fmt.Sprintf("size %d: %s; nothing learned yet of the cost", t.size, t.bound)
	} else {
		p.Why = fmt.Sprintf("size %d: %s; a batch costs %.1f ms, a prompt %.1f ms, a thousand tokens %.1f ms (predictions are off by %.0f %%)",
			t.size, t.bound, 1e3*m.cost.PerBatch, 1e3*m.cost.PerRequest, 1e6*m.cost.PerToken, 100*m.cost.Error)
	}
	for _, r := range []*trial{&t.more, &t.hold, &t.gather} {
		if r.said != "" {
			p.Why += "; " + r.said
		}
	}
	return p
}

// trial compares what is chosen with another choice by what the server gets done
// in the same time, turn and turn about. It is rare: after each vain trial the
// next comes twice as late.
type trial struct {
	running bool
	round   int // even: as before, odd: the other
	batches int // ended in this round
	began   time.Time
	done    float64 // in this round
	rate    [2]float64
	pause   int // batches until the next trial
	gap     int // the last pause
	said    string

	win float64 // so much gain ends it early too; 0: none does
}

const (
	trialRounds  = 6  // three of each
	trialBatches = 12 // of a round; the first two are the other choice's still
	trialSkip    = 2
	trialGain    = 0.03 // less is not told from noise
	trialLoss    = -0.1 // more than that ends it early, and puts the next one off for longer
	firstGap     = 64   // batches before the first trial, and after one that succeeded
	longestGap   = 8192
)

// other says whether the other choice is in force.
func (r *trial) other() bool { return r.running && r.round%2 == 1 }

// due counts a batch, and says whether it is time for a trial.
func (r *trial) due() bool {
	if r.gap == 0 {
		r.gap, r.pause = firstGap, firstGap
	}
	r.pause--
	return r.pause <= 0
}

func (r *trial) begin() {
	r.running, r.round, r.batches, r.rate = true, 0, 0, [2]float64{}
}

// ended takes what a batch did, and after the last the gain of the other choice.
func (r *trial) ended(done float64, now time.Time) (gain float64, over bool) {
	if r.batches++; r.batches <= trialSkip {
		r.began, r.done = now, 0
		return 0, false
	}
	if r.done += done; r.batches < trialBatches {
		return 0, false
	}
	r.rate[r.round%2] += r.done / math.Max(1e-9, now.Sub(r.began).Seconds())
	r.batches = 0
	if r.round++; r.round%2 == 1 {
		return 0, false
	}
	gain = r.rate[1]/math.Max(1e-12, r.rate[0]) - 1
	if r.round < trialRounds && gain > trialLoss && (r.win == 0 || gain < r.win) {
		return 0, false
	}
	r.running = false
	switch {
	case gain > trialGain:
		r.gap = firstGap
	case gain > trialLoss:
		r.gap = min(2*r.gap, longestGap)
	default:
		r.gap = min(4*r.gap, longestGap)
	}
	r.pause = r.gap
	return gain, true
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
	t.count()
	switch {
	case t.more.running:
		if gain, over := t.more.ended(t.price.work(a), now); over {
			t.decideMore(gain)
		}
	case t.hold.running:
		if gain, over := t.hold.ended(float64(a.prompts), now.Add(-t.idle)); over {
			t.decideHold(gain)
		}
	case t.gather.running:
		if gain, over := t.gather.ended(float64(a.prompts), now); over {
			t.decideGather(gain, now)
		}
	case !waiting && t.few() && t.gather.due():
		t.began, t.idled = now, t.idle
		t.gather.begin()
	case (held || t.loose) && t.hold.due():
		t.hold.begin()
	case waiting && t.more.due():
		t.other, t.price = t.inFlight+1, c
		if t.fewer && t.inFlight > 1 || t.other > autoMost {
			t.other = t.inFlight - 1
		}
		t.more.begin()
	}
}

// few says whether there are callers to gather, and so few that no batch of a share of
// them carries its fixed cost.
func (t *tuner) few() bool { return t.crowd() > 1 && t.crowd() < autoSmallest }

// count counts a batch that ended, and has those go apart again who are no longer about
// as many as when it was found to pay that they don't.
func (t *tuner) count() {
	if t.batches++; t.batches == autoCrowd {
		t.most, t.lately, t.batches = t.lately, 0, 0
	}
	if n := t.crowd(); t.gathered > 0 && (n > 2*t.gathered || 2*n < t.gathered || !t.few()) {
		t.gathered, t.gather = 0, trial{win: gatherWin}
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

// gatherWin is the gain that shows at once: twice as many in a batch whose cost is
// mostly fixed.
const gatherWin = 0.15

func (t *tuner) decideGather(gain float64, now time.Time) {
	idle := (t.idle - t.idled).Seconds() / now.Sub(t.began).Seconds()
	switch pays := gain > trialGain; {
	case t.gathered > 0:
		t.gather.said = fmt.Sprintf("not to gather %d does %+.1f %%", t.gathered, 100*gain)
		if pays {
			t.gathered = 0
		}
	case idle > autoIdle:
		t.gather.said = fmt.Sprintf("to gather %d says nothing with a server that idles %.0f %% of the time", t.crowd(), 100*idle)
	default:
		t.gather.said = fmt.Sprintf("to gather %d does %+.1f %%", t.crowd(), 100*gain)
		if pays {
			t.gathered, t.loose = t.crowd(), true
		}
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
