package report

import (
	"math"

	"paceline/loadgen/number"
	"paceline/loadgen/phrase"
	"paceline/loadgen/stats"
)

// knee says where throughput bends against the batch size, on a logarithmic axis
// because sizes are doublings; or that it does not, or that nobody can tell. It says
// nothing of too few sizes to bend.
func knee(sized []cell) []phrase.Phrase {
	if len(sized) < stats.FewestSizesForKnee {
		return nil
	}
	x, values := make([]float64, len(sized)), make([][]float64, len(sized))
	for i, c := range sized {
		x[i], values[i] = math.Log2(float64(c.batchSize)), c.throughputs()
	}
	b := stats.FindKnee(x, values)
	switch {
	case !b.Enough:
		return []phrase.Phrase{phrase.Say("Whether throughput has a knee can't be told: that needs %d repeats of each size.", stats.FewestToCompare)}
	case b.Found:
		return []phrase.Phrase{phrase.Say("Throughput has its knee at batch size %d: up to there a doubling of the size brings %s requests/s, beyond it %s. "+
			"Of shuffled repeats %s bend as much; redrawn ones have the knee %s.",
			sized[b.At].batchSize, signed(b.Before), signed(b.After), chanceText(b.ByChance), between(sized[b.Low].batchSize, sized[b.High].batchSize))}
	}
	return []phrase.Phrase{phrase.Say("No knee: throughput against doublings of the batch size does not go from a rise to a lesser one more clearly than shuffled repeats do (%s of them bend as much).", chanceText(b.ByChance))}
}

// chanceText writes a share of shuffles, of which there are too few to tell small ones.
func chanceText(share float64) phrase.Phrase {
	if share < 0.001 {
		return phrase.Say("less than 0.1 %%")
	}
	return phrase.Name(shareText(share))
}

func between(low, high int) phrase.Phrase {
	if low == high {
		return phrase.Say("there, too")
	}
	return phrase.Say("between %d and %d", low, high)
}

// signed writes a change of a throughput.
func signed(v float64) string {
	if v < 0 {
		return "−" + number.Significant(-v, 3)
	}
	return "+" + number.Significant(v, 3)
}
