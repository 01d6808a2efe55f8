package stats

import (
	"math"
	"math/rand/v2"
	"slices"
)

const (
	// FewestToCompare is how many values each of two samples needs. Of two and
	// two, the most different split still comes by chance one time in three.
	FewestToCompare = 3

	// FewestPairs is how many pairs of values it takes. Of four, all of them still
	// differ in one direction by chance one time in eight.
	FewestPairs = 5

	// mostSplits bounds the exact test: two samples of 10 have 184,756 splits.
	mostSplits = 200_000

	// randomSplits are tried where there are more: an error below 0.01.
	randomSplits = 20_000
)

// DifferenceByChance is a two-sided permutation test on rank sums (Wilcoxon,
// Mann and Whitney): the share of all ways to split both samples' values in two
// groups of these sizes that set the groups at least as far apart as they are.
// Near 0, chance hardly makes such a difference. It is exact for up to ten and
// ten values, and beyond that an estimate from random splits with a fixed seed.
// ok is false if either sample has fewer than FewestToCompare values.
//
// Ranks, because a single run disturbed by the machine must not decide, and
// because the same test on the medians themselves can't go below 0.2 for three
// and three values, where this one reaches 0.1: exactly when every value of one
// sample is above every value of the other.
func DifferenceByChance(a, b []float64) (p float64, ok bool) {
	if len(a) < FewestToCompare || len(b) < FewestToCompare {
		return 0, false
	}
	ranks := doubledRanks(slices.Concat(a, b))
	t := splitTest{ranks: ranks, take: len(a), middle: len(a) * (len(ranks) + 1)}
	t.seen = t.distance(sum(ranks[:len(a)]))
	if splits(len(ranks), len(a)) > mostSplits {
		return t.random(fixedRandom()), true
	}
	return t.exact(), true
}

// PairedDifferenceByChance is Wilcoxon's signed-rank test, two-sided, of values that
// were measured in pairs: the share of all ways to give the pairs' differences a sign
// that set a and b at least as far apart as they are. What changes from pair to pair,
// such as a machine that gets slower, falls on both of a pair and counts for nothing. A
// difference is the logarithm of the ratio, so that it means the same at any speed;
// pairs of equal values speak for neither. It is exact. All values must be above 0. ok is
// false with fewer than FewestPairs pairs.
func PairedDifferenceByChance(a, b []float64) (p float64, ok bool) {
	if len(a) != len(b) || len(a) < FewestPairs {
		return 0, false
	}
	var sizes []float64
	var above []bool
	for i := range a {
		if d := math.Log(a[i] / b[i]); d != 0 {
			sizes, above = append(sizes, math.Abs(d)), append(above, d > 0)
		}
	}
	ranks := doubledRanks(sizes)
	all, seen := sum(ranks), 0
	for i, r := range ranks {
		if above[i] {
			seen += r
		}
	}
	ways := make([]float64, all+1) // by the sum of the ranks above: the share of the ways that come to it
	ways[0] = 1
	for _, r := range ranks {
		for s := all; s >= 0; s-- {
			ways[s] /= 2
			if s >= r {
				ways[s] += ways[s-r] / 2
			}
		}
	}
	for s, share := range ways {
		if apart := max(2*s-all, all-2*s); apart >= max(2*seen-all, all-2*seen) {
			p += share
		}
	}
	return p, true
}

// splitTest counts the splits that are as far from the middle as the one seen.
// Its sums are of doubled ranks, so that all are whole numbers.
type splitTest struct {
	ranks  []int
	take   int // values in the first group
	middle int // what the first group's sum is on average
	seen   int // how far from it the samples' own split is
}

func (t splitTest) distance(sum int) int { return max(sum-t.middle, t.middle-sum) }

func (t splitTest) exact() float64 {
	var as, tried int
	var choose func(from, left, sum int)
	choose = func(from, left, sum int) {
		if left == 0 {
			tried++
			if t.distance(sum) >= t.seen {
				as++
			}
			return
		}
		for i := from; i <= len(t.ranks)-left; i++ {
			choose(i+1, left-1, sum+t.ranks[i])
		}
	}
	choose(0, t.take, 0)
	return float64(as) / float64(tried)
}

// random counts the samples' own split too, so that it is never 0.
func (t splitTest) random(rng *rand.Rand) float64 {
	as := 1
	shuffled := slices.Clone(t.ranks)
	for range randomSplits {
		rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if t.distance(sum(shuffled[:t.take])) >= t.seen {
			as++
		}
	}
	return float64(as) / (randomSplits + 1)
}

// doubledRanks gives each value twice its rank from 1; equal values share the
// mean of their ranks.
func doubledRanks(values []float64) []int {
	sorted := slices.Sorted(slices.Values(values))
	out := make([]int, len(values))
	for i, v := range values {
		first, _ := slices.BinarySearch(sorted, v)
		last := first
		for last+1 < len(sorted) && sorted[last+1] == v {
			last++
		}
		out[i] = first + 1 + last + 1
	}
	return out
}

func sum(values []int) int {
	total := 0
	for _, v := range values {
		total += v
	}
	return total
}

// splits is how many ways there are to take k of n.
func splits(n, k int) float64 {
	ways := 1.0
	for i := range k {
		ways *= float64(n-i) / float64(i+1)
	}
	return ways
}
