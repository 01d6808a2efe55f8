package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// The kinds of load that a mix has.
const (
	kindFirst    = "first"    // the first turn
	kindTurns    = "turns"    // -turns turns, one after the other; all unless that is above 1
	kindRollouts = "rollouts" // -rollouts copies of the first turn; defaultMixRollouts unless that is above 1
)

var kinds = []string{kindFirst, kindTurns, kindRollouts}

const defaultMixRollouts = 8 // as many as agents are often trained with

// mix is the shares of trajectories that are sent as each kind of load. The zero value
// is no mix.
type mix struct {
	text   string
	shares []float64 // of kinds, in their order; they sum up to 1
}

func (m *mix) String() string { return m.text }

// Set reads shares such as first=70,turns=20,rollouts=10, in parts of their sum.
func (m *mix) Set(text string) error {
	shares, sum := make([]float64, len(kinds)), 0.0
	for part := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		i := slices.Index(kinds, name)
		share, err := strconv.ParseFloat(value, 64)
		if i < 0 || err != nil || !(share >= 0) || share > 1e6 {
			return fmt.Errorf("%q: expected shares such as first=70,turns=20,rollouts=10", part)
		}
		if shares[i] != 0 {
			return fmt.Errorf("%s is given twice", name)
		}
		shares[i], sum = share, sum+share
	}
	if sum == 0 {
		return fmt.Errorf("%q: expected a share above 0", text)
	}
	for i := range shares {
		shares[i] /= sum
	}
	m.text, m.shares = text, shares
	return nil
}

// assign says of each of n trajectories as which kind it is sent: as many of each as its
// share says, to the nearest whole one, in an order that the seed decides. Without a mix
// all are "".
func (m mix) assign(n int, seed uint64) []string {
	out := make([]string, n)
	if m.shares == nil {
		return out
	}
	counts := make([]int, len(kinds))
	left := n
	for i, share := range m.shares {
		counts[i] = int(math.Floor(share * float64(n)))
		left -= counts[i]
	}
	byRest := make([]int, 0, len(kinds)) // largest remainders first; of equal ones the first kind
	for i := range kinds {
		byRest = append(byRest, i)
	}
	rest := func(i int) float64 { return m.shares[i]*float64(n) - float64(counts[i]) }
	slices.SortStableFunc(byRest, func(a, b int) int {
		switch {
		case rest(a) > rest(b):
			return -1
		case rest(a) < rest(b):
			return 1
		}
		return 0
	})
	for i := range left {
		counts[byRest[i%len(byRest)]]++
	}
	out = out[:0]
	for i, c := range counts {
		out = append(out, slices.Repeat([]string{kinds[i]}, c)...)
	}
	rng := rand.New(rand.NewPCG(seed, 2)) // 0 orders the settings, 1 makes arrivals
	rng.Shuffle(n, func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// of is how many turns and copies of a trajectory are sent as a kind of load; 0 turns
// are all.
func (o options) of(kind string) (turns, copies int) {
	switch kind {
	case kindFirst:
		return 1, 1
	case kindTurns:
		if o.turns > 1 {
			return o.turns, 1
		}
		return 0, 1
	case kindRollouts:
		if o.rollouts > 1 {
			return 1, o.rollouts
		}
		return 1, defaultMixRollouts
	}
	return o.turns, o.rollouts
}
