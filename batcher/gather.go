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

	// Of the last gatherBatches:
	most  int  // requests that were here at once
	busy  bool // whether the server was, all the time or nearly
	holds bool // whether some waited for what another computed for them

	lately  int           // requests that were here at once since,
	held    bool          // whether some waited,
	batches int           // in this many,
	began   time.Time     // from then on,
	idled   time.Duration // when idleness had come to that
}

const (
	gatherBatches = trialBatches
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

// count counts a batch that ended, with all idleness so far, and whether somebody was
// made to wait since the one before. Once the callers are no longer few, or not about as
// many as when it was found to pay, or the server idles, nobody is gathered.
func (g *gatherer) count(idle time.Duration, held bool, now time.Time) {
	if g.began.IsZero() {
		g.began, g.idled = now, idle
	}
	g.held = g.held || held
	if g.batches++; g.batches >= gatherBatches {
		g.busy = (idle - g.idled).Seconds() <= gatherIdle*now.Sub(g.began).Seconds()
		g.most, g.holds = g.lately, g.held
		g.lately, g.held, g.batches, g.began, g.idled = 0, false, 0, now, idle
		if !g.busy {
			g.callers, g.trial.running, g.trial.said = 0, false, "nobody is gathered for a server that idles"
		}
	}
	n := g.crowd()
	if gone := !g.few() || g.callers > 0 && (n > 2*g.callers || 2*n < g.callers); gone && (g.callers > 0 || g.trial.running) {
		g.callers, g.trial = 0, trial{}
	}
}

// due says whether it is time for a trial. While some wait for others, and it has not been
// found to be vain, those who are gathered would compute what they share each by itself.
func (g *gatherer) due(loose bool) bool {
	return g.busy && g.few() && (loose || !g.holds) && g.trial.due()
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
