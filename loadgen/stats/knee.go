package stats

import (
	"math"
	"slices"
)

const (
	// MinSizesForKnee is how many places a line with a bend needs: two on each side, where the
	// bend counts for both.
	MinSizesForKnee = 4

	bendByChance = 0.05 // significance level: the bend is real below it
	bendShuffles = 2000 // of the test: the error of ByChance is below 0.01
	bendRedraws  = 1000 // of the interval
)

// Bend is the result of FindKnee.
type Bend struct {
	Enough bool // enough places and values for a test; otherwise no other field is set

	// Found says that two lines fit the values better than one, by more than chance, that the
	// first line rises, and that the second is less steep.
	Found    bool
	ByChance float64 // share of shuffles that two lines fit as much better; 1 if two fit no better

	// At is the index of the place where the lines meet. It lies between Low and High in 95 % of
	// the samples redrawn from each place's own values.
	At, Low, High int

	Before, After float64 // slopes, in the values' unit for each unit of x
}

// FindKnee looks for the place after which values rise less steeply. values[i] were measured at x[i];
// x increases. FindKnee fits one line, and two lines that meet at an inner place, by least squares. A
// permutation test decides whether chance explains the better fit of two lines: it shuffles the
// residuals of the one line and fits both again. Each place needs MinToCompare values.
//
// Two lines are the simplest curve with a knee. A throughput that levels off smoothly also has one in
// this sense: where its two best lines meet.
func FindKnee(x []float64, values [][]float64) Bend {
	if len(x) < MinSizesForKnee || slices.ContainsFunc(values, func(v []float64) bool { return len(v) < MinToCompare }) {
		return Bend{}
	}
	var at, y []float64
	for i, of := range values {
		for _, v := range of {
			at, y = append(at, x[i]), append(y, v)
		}
	}
	one, two, k := fitBoth(x, at, y)
	b := Bend{Enough: true, ByChance: 1, At: k, Before: two.slope, After: two.slope + two.turn}
	seen := gain(one, two)
	if seen <= 0 {
		return b
	}
	rng := fixedRandom()
	shuffled, as := make([]float64, len(y)), 1 // the original order
	for range bendShuffles {
		rng.Shuffle(len(one.over), func(i, j int) { one.over[i], one.over[j] = one.over[j], one.over[i] })
		for i := range shuffled {
			shuffled[i] = one.fits[i] + one.over[i]
		}
		if o, t, _ := fitBoth(x, at, shuffled); gain(o, t) >= seen {
			as++
		}
	}
	b.ByChance = float64(as) / (bendShuffles + 1)
	b.Found = b.ByChance < bendByChance && b.Before > 0 && b.After < b.Before

	bends := make([]int, bendRedraws)
	for r := range bends {
		y = y[:0]
		for _, of := range values {
			for range of {
				y = append(y, of[rng.IntN(len(of))])
			}
		}
		_, _, bends[r] = fitBoth(x, at, y)
	}
	slices.Sort(bends)
	b.Low, b.High = bends[bendRedraws/40], bends[bendRedraws-1-bendRedraws/40]
	return b
}

// line is a line with a bend at one place.
type line struct {
	slope, turn float64   // turn is the change of the slope at the bend
	fits, over  []float64 // fitted values and residuals
	left        float64   // sum of squares of over
}

// gain is how much better two lines fit than one: the F statistic without its constants.
func gain(one, two line) float64 {
	if one.left-two.left <= 1e-12*max(one.left, 1e-300) { // rounding errors of values on a line
		return 0
	}
	return (one.left - two.left) / max(two.left, 1e-12*one.left)
}

// fitBoth returns the best line and the best two lines that meet at x[k], an inner place.
func fitBoth(x, at, y []float64) (one, two line, k int) {
	one, two.left = fit(at, y, math.Inf(1)), math.Inf(1)
	for i := 1; i < len(x)-1; i++ {
		if l := fit(at, y, x[i]); l.left < two.left {
			two, k = l, i
		}
	}
	return one, two, k
}

// fit returns the line with a bend at bend that fits y best, by the normal equations of the centred
// columns.
func fit(at, y []float64, bend float64) line {
	turns := make([]float64, len(at))
	for i, x := range at {
		turns[i] = max(0, x-bend)
	}
	mx, mz, my := Mean(at), Mean(turns), Mean(y)
	var xx, zz, xz, xy, zy float64
	for i := range at {
		dx, dz, dy := at[i]-mx, turns[i]-mz, y[i]-my
		xx, zz, xz, xy, zy = xx+dx*dx, zz+dz*dz, xz+dx*dz, xy+dx*dy, zy+dz*dy
	}
	l := line{fits: make([]float64, len(y)), over: make([]float64, len(y))}
	if det := xx*zz - xz*xz; zz > 0 && det > 0 {
		l.slope, l.turn = (xy*zz-zy*xz)/det, (zy*xx-xy*xz)/det
	} else if xx > 0 {
		l.slope = xy / xx
	}
	for i := range at {
		l.fits[i] = my + l.slope*(at[i]-mx) + l.turn*(turns[i]-mz)
		l.over[i] = y[i] - l.fits[i]
		l.left += l.over[i] * l.over[i]
	}
	return l
}
