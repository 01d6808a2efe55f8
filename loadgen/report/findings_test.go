package report

import (
	"fmt"
	"strings"
	"testing"
)

// lines are sentences of whatever kind, one a line.
func lines[S any](sentences []S) string {
	var b strings.Builder
	for _, s := range sentences {
		fmt.Fprintln(&b, s)
	}
	return b.String()
}

func contains[S any](t *testing.T, sentences []S, want ...string) {
	t.Helper()
	text := lines(sentences)
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("no %q in:\n%s", w, text)
		}
	}
}

func lacks[S any](t *testing.T, sentences []S, unwanted ...string) {
	t.Helper()
	text := lines(sentences)
	for _, w := range unwanted {
		if strings.Contains(text, w) {
			t.Errorf("%q is in:\n%s", w, text)
		}
	}
}

func TestRisingThroughputWithoutSaturationAsksForLargerSizes(t *testing.T) {
	p := cold(repeats("1", "cold", 0, 20, 20.1, 20.2), repeats("2", "cold", 0, 15, 15.1, 15.2), repeats("4", "cold", 0, 10, 10.1, 10.2))
	contains(t, p.findings(Config{}), "never falling", "No saturation in sight: 4", "+49.5 % against 2 (told apart)", "1→2 +33.1 %")
}

func TestSaturationNamesTheSmallestSizeThatIsEnough(t *testing.T) {
	p := cold(repeats("1", "cold", 0, 20), repeats("2", "cold", 0, 10.1), repeats("4", "cold", 0, 9.9), repeats("8", "cold", 0, 10))
	contains(t, p.findings(Config{}), "saturates at batch size 2", "so few repeats",
		"not steadily: the highest figure is at 4, the lowest at 1", "not enough repeats to tell which steps are real")
}

func TestFallingThroughputIsSaidToFall(t *testing.T) {
	p := cold(repeats("1", "cold", 0, 10, 10.1, 10.2), repeats("2", "cold", 0, 20, 20.1, 20.2))
	contains(t, p.findings(Config{}), "never rising", "saturates at batch size 1", "The repeats tell them apart")
}

func TestBatchesThatWereNotFullAreExplained(t *testing.T) {
	half := repeats("32", "cold", 0, 10, 10, 10)
	for i := range half {
		half[i].EffectiveBatchSize = 16
		half[i].ReleaseReasons = map[string]int{"wait": 30, "full": 10}
	}
	cases := []struct {
		cfg  Config
		want string
	}{
		{Config{Concurrency: 20, MaxInFlight: 2}, "held 16.00 requests on average: only 20 callers send at once"},
		{Config{Concurrency: 64, MaxInFlight: 2, MaxWaitSeconds: 0.005}, "75 % were released because its oldest request had waited 0.005 s; of 64 callers, 2 full batches in flight leave 0 to fill the next"},
		{Config{Concurrency: 256, MaxInFlight: 2, MaxWaitSeconds: 0.005}, "had waited 0.005 s."},
	}
	for _, c := range cases {
		contains(t, cold(half).findings(c.cfg), c.want)
	}
	lacks(t, cold(repeats("32", "cold", 0, 10)).findings(Config{Concurrency: 64, MaxInFlight: 2}), "held")
}

func TestTheServersOwnClockTellsWhatTheLimitIs(t *testing.T) {
	runs := repeats("8", "cold", 0, 10)
	for busy, want := range map[float64]string{9.8: "its computing is the limit", 4: "most of the time went elsewhere", 7: "70 % of the time, by its own clock."} {
		runs[0].ServerBusySeconds = &busy
		contains(t, cold(runs).findings(Config{}), want)
	}
	runs[0].ServerBusySeconds = nil
	lacks(t, cold(runs).findings(Config{}), "SGLang computed")
}

func TestTheProxysCostIsToldFromSingleCallsWithAndWithoutIt(t *testing.T) {
	p := cold(repeats("unbatched", "cold", 0, 10.2, 10.3, 10.4), repeats("direct", "cold", 0, 10, 10, 10))
	contains(t, p.findings(Config{}), "The proxy itself: single calls through it make -2.9 %", "tell them apart")
}

func TestWarmRunsThatAreNotWarmAreExplainedByTheCacheOnlyIfItIsTooSmall(t *testing.T) {
	r := of(repeats("8", "cold", 0.44, 10), repeats("8", "warm", 0.45, 10))
	contains(t, r.warmth(r.phases()), "45.0 % of the prompt tokens come from the cache when warm, 44.0 % when cold", "KV cache holds 400,000")
	r.Server.KVCacheTokens = 1_000_000
	contains(t, r.warmth(r.phases()), "does not explain it")
	lacks(t, r.warmth(r.phases()), "holds")

	r = of(repeats("8", "cold", 0.44, 10), repeats("8", "warm", 0.99, 5))
	contains(t, r.warmth(r.phases()), "(2.00×)")
	lacks(t, r.warmth(r.phases()), "not fully warm")
}
