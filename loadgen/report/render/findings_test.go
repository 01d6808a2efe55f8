package render

import (
	"testing"

	"paceline/loadgen/report"
)

func TestRisingThroughputIsSaidToRise(t *testing.T) {
	r := of(repeats("1", "cold", 0, 20, 20.1, 20.2), repeats("2", "cold", 0, 15, 15.1, 15.2), repeats("4", "cold", 0, 10, 10.1, 10.2))
	contains(t, sectionOf(t, r, "findings"), "never falling", "1→2 +33.1 %")
}

func TestStepsOfTooFewRepeatsAreNotCalledReal(t *testing.T) {
	r := of(repeats("1", "cold", 0, 20), repeats("2", "cold", 0, 10.1), repeats("4", "cold", 0, 9.95), repeats("8", "cold", 0, 10))
	contains(t, sectionOf(t, r, "findings"),
		"not steadily: the highest figure is at 4, the lowest at 1", "not enough repeats to tell which steps are real")
}

func TestFallingThroughputIsSaidToFall(t *testing.T) {
	r := of(repeats("1", "cold", 0, 10, 10.1, 10.2), repeats("2", "cold", 0, 20, 20.1, 20.2))
	contains(t, sectionOf(t, r, "findings"), "never rising", "The repeats tell them apart")
}

func TestBatchesThatWereNotFullAreExplained(t *testing.T) {
	half := repeats("32", "cold", 0, 10, 10, 10)
	for i := range half {
		half[i].EffectiveBatchSize = 16
		half[i].ReleaseReasons = map[string]int{"wait": 30, "full": 10}
	}
	cases := []struct {
		cfg  report.Config
		want string
	}{
		{report.Config{Concurrency: 20, MaxInFlight: 2}, "held 16.00 requests on average: only 20 callers send at once"},
		{
			report.Config{Concurrency: 64, MaxInFlight: 2, MaxWaitSeconds: 0.005},
			"75 % were released because its oldest request had waited 0.005 s; of 64 callers, 2 full batches in flight leave 0 to fill the next",
		},
		{report.Config{Concurrency: 256, MaxInFlight: 2, MaxWaitSeconds: 0.005}, "had waited 0.005 s."},
	}
	for _, c := range cases {
		r := of(half)
		r.Config = c.cfg
		contains(t, sectionOf(t, r, "findings"), c.want)
	}
	lacks(t, sectionOf(t, of(repeats("32", "cold", 0, 10)), "findings"), "held")
}

func TestTheServersOwnClockTellsWhatTheLimitIs(t *testing.T) {
	r := of(repeats("4", "cold", 0, 20, 20.1, 20.2), repeats("8", "cold", 0, 10, 10, 10))
	for busy, want := range map[float64]string{
		9.8: "its computing is the limit", 4: "most of the time went elsewhere", 7: "70 % of the time, by its own clock.",
	} {
		for i := range r.Runs {
			r.Runs[i].ServerBusySeconds = &busy
		}
		contains(t, sectionOf(t, r, "bottleneck"), want, "Why 4 is slower: an item takes 0.0402 s instead of 0.0200 s. 0 % of the difference",
			"No size above 8 was measured")
	}
	r.Runs[0].ServerBusySeconds = nil
	r.Runs[1].ServerBusySeconds = nil
	r.Runs[2].ServerBusySeconds = nil
	lacks(t, sectionOf(t, r, "bottleneck"), "SGLang computed for")
}

func TestForwardsSayWhyLargerListsAreNoFaster(t *testing.T) {
	r := of(repeats("1", "cold", 0, 20, 20.1, 20.2), repeats("8", "cold", 0, 10, 10.1, 10.2), repeats("16", "cold", 0, 10, 10.1, 10.05))
	for i, of := range []struct{ forwards, sequences int64 }{{500, 500}, {100, 500}, {98, 500}} {
		for k := range 3 {
			r.Runs[3*i+k].ServerForwards, r.Runs[3*i+k].ServerSequences = &of.forwards, &of.sequences
		}
	}
	contains(t, sectionOf(t, r, "bottleneck"), "SGLang ran 500 forwards of 1.00 new sequences instead of 100 of 5.00",
		"Why 16 is no better than 8: SGLang's forwards hold no more new sequences, 5.10 instead of 5.00")
}

func TestABusyTimeThatCantBeAShareOfTheTimeIsLeftOut(t *testing.T) {
	r := of(repeats("4", "cold", 0, 20, 20, 20), repeats("8", "cold", 0, 10, 10, 10))
	busy := 19.1
	r.Runs[4].ServerBusySeconds = &busy
	contains(t, sectionOf(t, r, "notes"), "left out: it would fill 191 % of a run's time")
	contains(t, sectionOf(t, r, "bottleneck"), "How long SGLang computes is not known")
	lacks(t, markdownOf(t, r), "tokens computed in", "by its own clock")
}

func TestTheProxysCostIsToldFromSingleCallsWithAndWithoutIt(t *testing.T) {
	r := of(repeats("unbatched", "cold", 0, 10.2, 10.3, 10.4), repeats("direct", "cold", 0, 10, 10, 10))
	contains(t, markdownOf(t, r), "| unbatched | 48.54 | 0.0206 | – | -2.9 % |")
}

func TestWarmRunsThatAreNotWarmAreExplainedByTheCacheOnlyIfItIsTooSmall(t *testing.T) {
	r := of(repeats("8", "cold", 0.44, 10), repeats("8", "warm", 0.45, 10))
	contains(t, sectionOf(t, r, "notes"), "at batch size 8 45.0 % of the prompt tokens come from the cache", "KV cache holds 400,000")
	r.Server.KVCacheTokens = 1_000_000
	contains(t, sectionOf(t, r, "notes"), "does not explain it")
	lacks(t, sectionOf(t, r, "notes"), "holds")

	r = of(repeats("8", "cold", 0.44, 10), repeats("8", "warm", 0.99, 5))
	lacks(t, sectionOf(t, r, "notes"), "not fully warm")
}
