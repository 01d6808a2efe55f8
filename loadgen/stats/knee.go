package stats

import (
	"math"
	"math/rand/v2"
	"slices"
)

const (
	// FewestSizesForKnee is how many places a line with a bend needs: two on each
	// side, of which the bend is one.
	FewestSizesForKnee = 4

	// bendByChance is the share of chance below which a bend is taken to be there.
	bendByChance = 0.05

	bendShuffles = 2000 // of the test: an error of its share below 0.01
	bendRedraws  = 1000 // of the interval
)

// Bend is what FindKnee says.
type Bend struct {
	Enough bool // places and values for a test; nothing else is told without

	// Found says that two lines, the second less steep, fit the values better than
	// one by more than chance, and that the first rises.
	Found    bool
	ByChance float64 // share of shuffles that one line leaves as much to two; 1 where two fit no better

	// At is the index of the place where the lines meet, and Low to High those in
	// which it lies for 95 % of the samples redrawn from each place's own values.
	At, Low, High int

	Before, After float64 // slopes, in the values' unit for each unit of x
}

// FindKnee looks for the place after which values rise less steeply: values[i] were
// measured at x[i], which rises. It fits one line, and two that meet at one of the
// inner places, by least squares; and asks by permutation whether chance makes two
// lines so much the better: what one line leaves over is shuffled among all values and
// both are fitted again. Each place needs FewestToCompare values.
//
// Two lines are the plainest curve with a knee. A throughput that levels off without
// a sharp bend has one in this sense, too: where its two best lines meet.
func FindKnee(x []float64, values [][]float64) Bend {
	if len(x) < FewestSizesForKnee || slices.ContainsFunc(values, func(v []float64) bool { return len(v) < FewestToCompare }) {
		return Bend{}
	}
	var at, y []float64
	for i, of := range values {
		for _, v := range of {
			at, y = append(at, x[i]), append(y, v)
		}
	}
	b := Bend{Enough: true, ByChance: 1}
	one := fit(at, y, math.Inf(1))
	k, two := bestBend(x, at, y)
	b.At, b.Before, b.After = k, two.slope, two.slope+two.turn
	seen := gain(one, two)
	if seen <= 0 {
		return b
	}
	rng := fixedRandom()
	b.ByChance = chanceOfGain(rng, x, at, y, one, seen)
	b.Found = b.ByChance < bendByChance && b.Before > 0 && b.After < b.Before
	b.Low, b.High = bendInterval(rng, x, values)
	return b
}

// line is a + slope·x, and from the bend on turn steeper.
type line struct {
	a, slope, turn float64
	bend           float64 // +Inf: none
	left           float64 // sum of squares that it does not explain
}

func (l line) value(x float64) float64 { return l.a + l.slope*x + l.turn*max(0, x-l.bend) }

// gain is how much better two lines are than one, as the F test has it, but for
// constants.
func gain(one, two line) float64 {
	// What rounding alone leaves of values on a line is no gain.
	if one.left-two.left <= 1e-12*max(one.left, 1e-300) {
		return 0
	}
	return (one.left - two.left) / max(two.left, 1e-12*one.left)
}

// bestBend is the bend at an inner place that leaves least.
func bestBend(x, at, y []float64) (k int, best line) {
	best.left = math.Inf(1)
	for i := 1; i < len(x)-1; i++ {
		if l := fit(at, y, x[i]); l.left < best.left {
			k, best = i, l
		}
	}
	return k, best
}

func chanceOfGain(rng *rand.Rand, x, at, y []float64, one line, seen float64) float64 {
	over, shuffled := make([]float64, len(y)), make([]float64, len(y))
	for i := range y {
		over[i] = y[i] - one.value(at[i])
	}
	as := 1 // the values' own order
	for range bendShuffles {
		rng.Shuffle(len(over), func(i, j int) { over[i], over[j] = over[j], over[i] })
		for i := range shuffled {
			shuffled[i] = one.value(at[i]) + over[i]
		}
		_, two := bestBend(x, at, shuffled)
		if gain(fit(at, shuffled, math.Inf(1)), two) >= seen {
			as++
		}
	}
	return float64(as) / (bendShuffles + 1)
}

// bendInterval is where the bend lies in samples drawn again from each place's values.
func bendInterval(rng *rand.Rand, x []float64, values [][]float64) (low, high int) {
	bends := make([]float64, bendRedraws)
	var at, y []float64
	for r := range bends {
		at, y = at[:0], y[:0]
		for i, of := range values {
			for range of {
				at, y = append(at, x[i]), append(y, of[rng.IntN(len(of))])
			}
		}
		k, _ := bestBend(x, at, y)
		bends[r] = float64(k)
	}
	slices.Sort(bends)
	return int(bends[bendRedraws/40]), int(bends[bendRedraws-1-bendRedraws/40])
}

// fit is the line, bent at bend, that leaves least of y: by the normal equations of
// the centred columns, which two columns solve by hand.
func fit(at, y []float64, bend float64) line {
	mx, my, mz := Mean(at), Mean(y), 0.0
	turn := func(x float64) float64 {
		if math.IsInf(bend, 1) {
			return 0
		}
		return max(0, x-bend)
	}
	for _, x := range at {
		mz += turn(x) / float64(len(at))
	}
	var xx, zz, xz, xy, zy float64
	for i := range at {
		dx, dz, dy := at[i]-mx, turn(at[i])-mz, y[i]-my
		xx, zz, xz, xy, zy = xx+dx*dx, zz+dz*dz, xz+dx*dz, xy+dx*dy, zy+dz*dy
	}
	l := line{bend: bend}
	if det := xx*zz - xz*xz; zz > 0 && det > 0 {
		l.slope, l.turn = (xy*zz-zy*xz)/det, (zy*xx-xy*xz)/det
	} else if xx > 0 {
		l.slope, l.bend = xy/xx, math.Inf(1)
	}
	l.a = my - l.slope*mx - l.turn*mz
	for i := range at {
		over := y[i] - l.value(at[i])
		l.left += over * over
	}
	return l
}
