package batcher

import (
	"math"
	"time"
)

// Cost is what a batch costs SGLang, as learned from the batches so far:
//
//	seconds = PerBatch + PerRequest·prompts + PerToken·uncached tokens
type Cost struct {
	PerBatch, PerRequest, PerToken float64 // seconds

	Batches int     // that it was learned from; predictions are made from leastBatches on
	Error   float64 // mean relative error of recent predictions
}

const leastBatches = 12 // fewer say little about three numbers

// Ready says whether enough was learned to predict.
func (c Cost) Ready() bool { return c.Batches >= leastBatches }

// Predict is the time of a batch, or 0 while too little is known.
func (c Cost) Predict(prompts int, uncachedTokens float64) time.Duration {
	if !c.Ready() {
		return 0
	}
	return seconds(c.PerBatch + c.PerRequest*float64(prompts) + c.PerToken*max(0, uncachedTokens))
}

// atLeast and atMost bound a prediction by the error of recent ones.
func (c Cost) atLeast(d time.Duration) time.Duration {
	return time.Duration(float64(d) * max(0.25, 1-2*c.Error))
}

func (c Cost) atMost(d time.Duration) time.Duration {
	return delivery + time.Duration(float64(d)*min(4, 1.1+2*c.Error))
}

// delivery is the time to hand an answer to its caller, at the most.
const delivery = 5 * time.Millisecond

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// learner fits Cost by least squares of the relative error over recent lessons,
// with numbers that are not negative.
type learner struct {
	cost Cost
	// Decayed sums over the lessons, of x·xᵀ and x·y with x and y divided by the
	// seconds: so a short one counts as much as a long one.
	xx [3][3]float64
	xy [3]float64
}

const (
	memory      = 0.98 // weight of a lesson against the next: about fifty are remembered
	errorMemory = 0.1  // weight of one error: about ten are remembered
	kiloToken   = 1000 // tokens are counted in thousands, so that the sums are of one magnitude
)

// learn takes some batches that together kept the server busy for took.
func (l *learner) learn(batches, prompts int, uncachedTokens float64, took time.Duration) {
	y := took.Seconds()
	if l.cost.Ready() {
		predicted := float64(batches)*l.cost.PerBatch + float64(prompts)*l.cost.PerRequest + uncachedTokens*l.cost.PerToken
		l.cost.Error += errorMemory * (min(math.Abs(predicted-y)/y, 2) - l.cost.Error)
	}
	x := [3]float64{float64(batches) / y, float64(prompts) / y, uncachedTokens / kiloToken / y}
	for i := range x {
		for j := range x {
			l.xx[i][j] = memory*l.xx[i][j] + x[i]*x[j]
		}
		l.xy[i] = memory*l.xy[i] + x[i]
	}
	l.cost.Batches += batches
	best := l.solve()
	l.cost.PerBatch, l.cost.PerRequest, l.cost.PerToken = best[0], best[1], best[2]/kiloToken
}

// solve is the least-squares solution among those without a negative number: of
// every choice of terms the best whose solution has none.
func (l *learner) solve() (best [3]float64) {
	least := math.Inf(1)
	for terms := 1; terms < 8; terms++ {
		x, ok := l.solveFor(terms)
		if !ok || min(x[0], x[1], x[2]) < 0 {
			continue
		}
		loss := 0.0
		for i := range x {
			for j := range x {
				loss += x[i] * l.xx[i][j] * x[j]
			}
			loss -= 2 * x[i] * l.xy[i]
		}
		if loss < least {
			best, least = x, loss
		}
	}
	return best
}

// solveFor solves the normal equations of some terms, those whose bits are set.
// A little ridge keeps terms that always moved together from running apart.
func (l *learner) solveFor(terms int) (x [3]float64, ok bool) {
	var a [3][4]float64
	for i := range 3 {
		if terms>>i&1 == 0 {
			a[i][i] = 1
			continue
		}
		for j := range 3 {
			if terms>>j&1 == 1 {
				a[i][j] = l.xx[i][j]
			}
		}
		a[i][i] *= 1 + 1e-6
		a[i][3] = l.xy[i]
	}
	for i := range 3 { // Gauss; the matrix is symmetric and positive
		if a[i][i] <= 0 {
			return x, false
		}
		for k := i + 1; k < 3; k++ {
			f := a[k][i] / a[i][i]
			for j := i; j < 4; j++ {
				a[k][j] -= f * a[i][j]
			}
		}
	}
	for i := 2; i >= 0; i-- {
		x[i] = a[i][3]
		for j := i + 1; j < 3; j++ {
			x[i] -= a[i][j] * x[j]
		}
		x[i] /= a[i][i]
	}
	return x, true
}
