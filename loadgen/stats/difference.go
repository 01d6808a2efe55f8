package stats

import (
	"cmp"
	"math"
	"slices"
)

// MinToCompare is how many values each of two samples needs to be compared.
const MinToCompare = 3

// contrast is the difference of two samples' mean logarithms.
type contrast struct {
	i, j    int     // the samples
	by      float64 // difference of the means
	weight  float64 // its variance is that of one value divided by weight
	squares float64 // sum of squares around the means, of one value
	freedom float64 // degrees of freedom of squares
	p       float64 // probability by chance
}

// Difference is the result of a test of two samples.
type Difference struct {
	By float64 // mean logarithm of the first less that of the second
	P  float64 // probability of such a difference by chance, over all differences of the test; above 1: too few values
}

// DifferencesInRounds compares samples that were measured in rounds, each with each: samples[i][r] is the
// value of sample i in round r, above 0. The result [i][j] has the sign of i's mean less j's. P holds over
// all pairs: if no samples differ, some P is at most 0.05 in one case of 20. P is 2 for a pair that has
// fewer than MinToCompare rounds in common.
//
// It is a t-test of the logarithms' differences within a round: what changes from round to round, such as
// a machine that gets slower, cancels out. The variance comes from all pairs, so that three rounds of
// several samples are enough; a pair that varies more than most counts with its own. An F-test of
// all samples goes first. If it finds that some differ, at most the pairs of all samples but one can be
// equal, and Holm's steps count no more pairs than that (Shaffer, 1986).
func DifferencesInRounds(samples []map[int]float64) [][]Difference {
	out := make([][]Difference, len(samples))
	var all []contrast
	var t total
	values, rounds, compared := 0, map[int]bool{}, 0
	for i, a := range samples {
		out[i] = slices.Repeat([]Difference{{P: 2}}, len(samples))
		if len(a) < MinToCompare {
			continue
		}
		compared++
		values += len(a)
		for r := range a {
			rounds[r] = true
		}
		for j, b := range samples[:i] {
			if c, ok := inRounds(a, b); ok {
				c.i, c.j = i, j
				t.add(c)
				all = append(all, c)
			}
		}
	}
	k := float64(compared)
	// The variance among samples and within them, as an analysis of variance has it if every sample has every round.
	variance, freedom := t.within(float64(max(1, values-len(rounds)-compared+1))) // after the means of samples and of rounds
	gate := fTail(2*t.between/(k*(k-1))/variance, k-1, freedom)
	for _, c := range holm(all, variance, freedom, (compared-1)*(compared-2)/2, gate) {
		out[c.i][c.j], out[c.j][c.i] = Difference{c.by, c.p}, Difference{-c.by, c.p}
	}
	return out
}

// inRounds contrasts the rounds that two samples have in common.
func inRounds(a, b map[int]float64) (c contrast, ok bool) {
	var by []float64
	for r, v := range a {
		if w, both := b[r]; both {
			by = append(by, math.Log(v/w))
		}
	}
	if len(by) < MinToCompare {
		return c, false
	}
	slices.Sort(by) // the sums don't depend on the order of the map
	mean, squares := squaresOf(by)
	n := float64(len(by))
	return contrast{by: mean, weight: n / 2, squares: squares / 2, freedom: n - 1}, true
}

// squaresOf returns the mean, and the sum of squares around it.
func squaresOf(sample []float64) (mean, squares float64) {
	mean = Mean(sample)
	for _, v := range sample {
		squares += (v - mean) * (v - mean)
	}
	return mean, squares
}

// Differences compares each before[i] with after[i], which were not measured together. All values must
// be above 0. P holds over all i. It is 2 where a sample has fewer than MinToCompare values.
func Differences(before, after [][]float64) []Difference {
	out := slices.Repeat([]Difference{{P: 2}}, len(before))
	var all []contrast
	var t total
	for i := range before {
		if min(len(before[i]), len(after[i])) < MinToCompare {
			continue
		}
		a, squaresA := squaresOf(logs(before[i]))
		b, squaresB := squaresOf(logs(after[i]))
		n, m := float64(len(before[i])), float64(len(after[i]))
		c := contrast{i: i, by: a - b, weight: n * m / (n + m), squares: squaresA + squaresB, freedom: n + m - 2}
		t.add(c)
		all = append(all, c)
	}
	variance, freedom := t.within(t.freedom / 2) // samples of one sweep vary together from round to round
	for _, c := range holm(all, variance, freedom, len(all), 0) {
		out[c.i] = Difference{c.by, c.p}
	}
	return out
}

func logs(sample []float64) []float64 {
	out := make([]float64, len(sample))
	for i, v := range sample {
		out[i] = math.Log(v)
	}
	return out
}

// total sums up contrasts.
type total struct {
	squares, freedom, between float64
	own                       []float64 // variances of the contrasts alone
}

func (t *total) add(c contrast) {
	t.squares, t.freedom, t.between = t.squares+c.squares, t.freedom+c.freedom, t.between+c.by*c.by*c.weight
	t.own = append(t.own, c.squares/c.freedom)
}

// within returns the variance of one value within the samples, and its degrees of freedom: of all
// contrasts, or of the one in the middle if that is less, so that one disturbed value does not hide all
// differences. The middle of such variances is below their mean, as Wilson and Hilferty's formula says,
// and knows as much as 2/π of the values.
func (t *total) within(freedom float64) (variance, left float64) {
	each := t.freedom / float64(len(t.own))
	variance = t.squares / t.freedom
	below := 1 - 2/(9*each)
	if middle := Median(t.own) / (below * below * below); middle < variance {
		return middle, freedom * 2 / math.Pi
	}
	return variance, freedom
}

// holm fills p of all contrasts. At most so many of them as equal says are 0, unless all are: that has
// the probability gate.
func holm(all []contrast, variance, freedom float64, equal int, gate float64) []contrast {
	for k := range all {
		c := &all[k]
		own := c.squares / c.freedom
		c.p = tTail(math.Abs(c.by)/math.Sqrt(max(variance, own)/c.weight), freedom)
	}
	slices.SortStableFunc(all, func(a, b contrast) int { return cmp.Compare(a.p, b.p) })
	least := gate
	for k := range all {
		least = min(1, max(least, float64(max(1, min(len(all)-k, equal)))*all[k].p))
		all[k].p = least
	}
	return all
}

// tTail returns the probability of a value of Student's t at least as far from 0 as t.
func tTail(t, freedom float64) float64 { return incompleteBeta(freedom/(freedom+t*t), freedom/2, 0.5) }

// fTail returns the probability of a value of F of at least f.
func fTail(f, above, below float64) float64 {
	return incompleteBeta(below/(below+above*f), below/2, above/2)
}

// incompleteBeta returns the regularized incomplete beta function, by Lentz's continued fraction. It is 1
// if x is not a number: nothing varies and nothing differs.
func incompleteBeta(x, a, b float64) float64 {
	switch {
	case math.IsNaN(x) || x >= 1:
		return 1
	case x <= 0:
		return 0
	case x > (a+1)/(a+b+2):
		return 1 - incompleteBeta(1-x, b, a)
	}
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	lab, _ := math.Lgamma(a + b)
	front := math.Exp(lab-la-lb+a*math.Log(x)+b*math.Log1p(-x)) / a
	const tiny = 1e-300
	f, c, d := 1.0, 1.0, 0.0
	for i := range 400 {
		m := float64(i / 2)
		step := 1.0
		switch {
		case i > 0 && i%2 == 0:
			step = m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		case i > 0:
			step = -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		}
		if d = 1 + step*d; math.Abs(d) < tiny {
			d = tiny
		}
		if c = 1 + step/c; math.Abs(c) < tiny {
			c = tiny
		}
		d = 1 / d
		f *= c * d
		if math.Abs(1-c*d) < 1e-12 {
			break
		}
	}
	return front * (f - 1)
}
