package load

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// The kinds of load in a mix.
const (
	kindFirst    = "first"    // the first turn
	kindTurns    = "turns"    // -turns turns, one after the other; all unless that is above 1
	kindRollouts = "rollouts" // -rollouts copies of the first turn; defaultMixRollouts unless that is above 1
)

var kinds = []string{kindFirst, kindTurns, kindRollouts}

const defaultMixRollouts = 8 // a usual group size when agents are trained

// Mix holds the share of trajectories sent as each kind of load. The zero value is no mix. Mix
// implements flag.Value.
type Mix struct {
	text   string
	shares []float64 // of kinds, in their order; their sum is 1
}

// String returns the text that was set.
func (m *Mix) String() string { return m.text }

// Set parses shares such as first=70,turns=20,rollouts=10. Each is a part of their sum.
func (m *Mix) Set(text string) error {
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

// assign returns the kind of each of n trajectories. Each kind gets its share, rounded to a whole
// number, in an order decided by seed. Without a mix all kinds are "".
func (m Mix) assign(n int, seed uint64) []string {
	out := make([]string, n)
	if m.shares == nil {
		return out
	}
	counts, left := make([]int, len(kinds)), n
	for i, share := range m.shares {
		counts[i] = int(math.Floor(share * float64(n)))
		left -= counts[i]
	}
	byRest := []int{0, 1, 2} // largest remainder first; equal ones in the order of kinds
	rest := func(i int) float64 { return m.shares[i]*float64(n) - float64(counts[i]) }
	slices.SortStableFunc(byRest, func(a, b int) int { return cmp.Compare(rest(b), rest(a)) })
	for i := range left {
		counts[byRest[i%len(byRest)]]++
	}
	out = out[:0]
	for i, c := range counts {
		out = append(out, slices.Repeat([]string{kinds[i]}, c)...)
	}
	rng := rand.New(rand.NewPCG(seed, 2)) // stream 0 orders the settings, 1 makes arrivals
	rng.Shuffle(n, func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// turnsAndCopies returns how many turns and copies of a trajectory a kind of load sends; 0 turns
// means all.
func (o Options) turnsAndCopies(kind string) (turns, copies int) {
	switch kind {
	case kindFirst:
		return 1, 1
	case kindTurns:
		if o.Turns > 1 {
			return o.Turns, 1
		}
		return 0, 1
	case kindRollouts:
		if o.Rollouts > 1 {
			return 1, o.Rollouts
		}
		return 1, defaultMixRollouts
	}
	return o.Turns, o.Rollouts
}
