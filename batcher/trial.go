package batcher

import (
	"math"
	"time"
)

// trial compares what is chosen with another choice by what the server gets done
// in the same time, turn and turn about. It is rare: after each vain trial the
// next comes twice as late, after one that lost clearly four times.
type trial struct {
	running bool
	round   int // even: as before, odd: the other
	batches int // ended in this round
	began   time.Time
	done    float64 // in this round
	rate    [2]float64
	pause   int     // batches until the next trial
	gap     int     // the last pause
	win     float64 // so much gain ends it early too
	said    string
}

const (
	trialRounds  = 6  // three of each
	trialBatches = 12 // of a round; the first two are the other choice's still
	trialSkip    = 2
	trialGain    = 0.03 // less is not told from noise
	trialLoss    = -0.1 // more than that ends it early
	firstGap     = 64   // batches before the first trial, and after one that succeeded
	longestGap   = 8192
)

// noWin lets a trial have all its rounds, however much is gained.
var noWin = math.Inf(1)

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

// begin begins a trial, which so much gain ends early.
func (r *trial) begin(win float64) {
	r.running, r.round, r.batches, r.rate, r.win = true, 0, 0, [2]float64{}, win
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
	if r.round < trialRounds && gain > trialLoss && gain < r.win {
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
