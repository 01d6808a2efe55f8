package render

import (
	"testing"

	"paceline/loadgen/report"
)

// carded is a sweep whose server's cards were sampled.
func carded() report.Report {
	r := of(repeats("8", "cold", 0.44, 10, 10, 10), repeats("unbatched", "cold", 0.44, 20, 20, 20))
	r.Config.CostPerHour = 3.6
	for i := range r.Runs {
		r.Runs[i].WallClockSeconds = r.Runs[i].WallSeconds
		r.Runs[i].Cards = &report.Cards{Count: 1, Watts: 400, ClockMHz: 1755, Used: 0.9, Throttled: map[string]float64{}}
		if i == 1 {
			r.Runs[i].Cards.Throttled["power cap"] = 0.25
		}
	}
	r.Runs[2].Notes = []string{"SGLang ran 2 and queued 5 requests of others when it began"}
	return r
}

func TestEnergyAndCostStandWhereTheyAreKnown(t *testing.T) {
	text := markdownOf(t, carded())
	contains(t, text, "## Energy and cost", "The server costs 3.6 USD an hour.",
		"| 8 | cold | 400 | 8,000 | 1,755 | 90.0 % | 0.0 % | 0.00688 |", // 10 s of 0.001 USD for 500 × 2,905 tokens
		"| unbatched (single calls) | cold | 400 | 16,000 |",
		"The card was throttled in batch size 8 cold repeat 2: power cap in 25.0 % of the samples",
		"SGLang ran 2 and queued 5 requests of others when it began")
	r := carded()
	for i := range r.Runs {
		r.Runs[i].Cards = nil
	}
	text = markdownOf(t, r)
	contains(t, text, "## Cost", "| batch size | phase | USD per million prompt tokens |", "| 8 | cold | 0.00688 |")
	lacks(t, text, "joules", "throttled")
	r.Config.CostPerHour = 0
	lacks(t, markdownOf(t, r), "## Cost")
}
