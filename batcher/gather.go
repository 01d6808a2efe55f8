package batcher

import (
	"fmt"
	"time"
)

// gatherer finds out, for a few callers who come back together, whether what they ask
// for had better go as one batch, with none beside it: it had where a batch's fixed cost
// is much of what their prompts cost. It says nothing of a server that idles, for such
// a one gets as much done as is asked for, however that is batched.
type gatherer struct {
	callers int // so many are gathered; 0: they are not
	trial   trial
	looked  time.Time     // when the idleness was looked at last,
	idled   time.Duration // and what it had come to
	most    int           // requests that were here at once, in the last gatherBatches
	lately  int           // and since,
	batches int           // in this many
}

const (
	gatherBatches = 8
	gatherIdle    = 0.2  // share of the time from which on a server idles
	gatherWin     = 0.15 // a gain that shows at once
)

// now says whether all that is here goes as one batch.
func (g *gatherer) now() bool { return (g.callers > 0) != g.trial.other() }

// crowd is how many requests were here at once lately.
func (g *gatherer) crowd() int { return max(g.most, g.lately) }

// few says whether there are some to gather: from autoSmallest on, a share of them will
// do.
func (g *gatherer) few() bool { return g.crowd() > 1 && g.crowd() < autoSmallest }

// count counts a batch that ended. Once they are no longer few, or not about as many as
// when it was found to pay, nobody is gathered.
func (g *gatherer) count() {
	if g.batches++; g.batches == gatherBatches {
		g.most, g.lately, g.batches = g.lately, 0, 0
	}
	n := g.crowd()
	if gone := !g.few() || g.callers > 0 && (n > 2*g.callers || 2*n < g.callers); gone && (g.callers > 0 || g.trial.running) {
		g.callers, g.trial = 0, trial{win: gatherWin}
	}
}

// consider begins a trial, unless the server has idled: then nobody is gathered.
func (g *gatherer) consider(idle time.Duration, now time.Time) {
	share := 1.0
	if !g.looked.IsZero() {
		share = (idle - g.idled).Seconds() / max(1e-9, now.Sub(g.looked).Seconds())
	}
	g.looked, g.idled = now, idle
	if share <= gatherIdle {
		g.trial.begin()
		return
	}
	g.callers, g.trial.pause = 0, g.trial.gap
	g.trial.said = fmt.Sprintf("nobody is gathered for a server that idles %.0f %% of the time", 100*share)
}

// decide takes the gain of what was tried.
func (g *gatherer) decide(gain float64) {
	if g.callers > 0 {
		g.trial.said = fmt.Sprintf("not to gather %d does %+.1f %%", g.callers, 100*gain)
	} else {
		g.trial.said = fmt.Sprintf("to gather %d does %+.1f %%", g.crowd(), 100*gain)
	}
	switch {
	case gain <= trialGain:
	case g.callers > 0:
		g.callers = 0
	default:
		g.callers = g.crowd()
	}
}
