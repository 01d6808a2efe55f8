package render

import (
	"math/rand/v2"
	"testing"
	"time"

	"paceline/loadgen/report"
)

// inTime lets the runs of a sweep start one after the other, round by round.
func inTime(r report.Report) report.Report {
	for i := range r.Runs {
		r.Runs[i].StartedAt = made.Add(time.Duration(r.Runs[i].Repeat) * time.Minute)
	}
	return r
}

func TestAServerThatGetsSlowerIsToldFirst(t *testing.T) {
	r := inTime(of(repeats("4", "cold", 0, 10, 10.4, 10.8, 11.2, 11.6), repeats("8", "cold", 0, 8, 8.3, 8.6, 8.9, 9.2)))
	contains(t, sectionOf(t, r, "warnings"), "Cold: from the first run to the last the throughput changed by -1",
		"at the same settings, more than chance")
}

func TestSteadyRepeatsAreSeldomCalledUnsteady(t *testing.T) {
	const sweeps = 300
	drifts, humps, random := 0, 0, rand.New(rand.NewPCG(5, 6))
	for range sweeps {
		noisy := func() (walls []float64) {
			for range 5 {
				walls = append(walls, 10*(1+0.03*random.NormFloat64()))
			}
			return walls
		}
		r := inTime(of(repeats("4", "cold", 0, noisy()...), repeats("8", "cold", 0, noisy()...), repeats("16", "cold", 0, noisy()...)))
		for _, u := range figuresOf(r).Unsteady {
			if u.Drift != 0 {
				drifts++
			}
			if u.Humps != nil {
				humps++
			}
		}
	}
	if drifts > sweeps*8/100 || humps > sweeps*3/100 {
		t.Errorf("of %d steady sweeps %d are said to drift and %d to lie in two groups", sweeps, drifts, humps)
	}
	t.Logf("of %d steady sweeps %d are said to drift and %d to lie in two groups", sweeps, drifts, humps)
}

func TestRepeatsInTwoGroupsAreTold(t *testing.T) {
	r := inTime(of(repeats("4", "cold", 0, 10, 12.6, 10.1, 12.5, 10.05)))
	contains(t, sectionOf(t, r, "warnings"), "Cold, batch size 4: the repeats lie in two groups, 2 up to 40.00 and 3 from 49.50 requests/s")
	lacks(t, sectionOf(t, inTime(of(repeats("4", "cold", 0, 10, 12.6, 10.7, 12.5, 11.3))), "warnings"), "two groups")
}

func TestATemplateThatChangesTheTokensIsToldFirst(t *testing.T) {
	r := of(repeats("4", "cold", 0, 10))
	r.Source.TokenRatio = 1.96
	contains(t, sectionOf(t, r, "warnings"), "the server counted 1.96 times the prompt tokens that the trajectories record")
	r.Source.TokenRatio = 1.02
	lacks(t, sectionOf(t, r, "warnings"), "record")
}

func TestRetriesOfTheProxyAreCounted(t *testing.T) {
	r := of(repeats("4", "cold", 0, 10, 10))
	r.Runs[0].Retried, r.Runs[1].Retried = 3, 4
	contains(t, sectionOf(t, r, "notes"), "The proxy sent 7 requests to SGLang more than once")
}

func TestTheFlagsOfASettingAreThoseItWasMeasuredWith(t *testing.T) {
	wait := 0.002
	r := of(repeats("8", "cold", 0, 10, 10, 10), repeats("4", "cold", 0, 20, 20, 20))
	for i := range r.Runs {
		r.Runs[i].MaxInFlight, r.Runs[i].MaxWaitSeconds, r.Runs[i].Order = 3, &wait, "prefix"
	}
	want := "-mode fixed -batch-size 8 -max-in-flight 3 -max-wait 2ms -share all"
	contains(t, markdownOf(t, r), "Flags of the proxy for batch size 8: `"+want+"`", "start the proxy with `"+want+"`", "It takes 32 callers")
	r = of(repeats("1", "cold", 0, 20, 20.1, 20.2), repeats("unbatched", "cold", 0, 10, 10.1, 10.2))
	contains(t, markdownOf(t, r), "`-mode unbatched`")
}

func TestTheFirstScreenComparesWithSGLangStraight(t *testing.T) {
	r := of(repeats("1", "cold", 0, 20, 20, 20), repeats("8", "cold", 0, 10, 10, 10), repeats("direct", "cold", 0, 25, 25, 25))
	contains(t, markdownOf(t, r), "**50.00 requests/s cold with batch size 8, +150.0 % against SGLang straight.**",
		"| 🥇 1 | 8 | 50.00 | 0.0200 | +100.0 % | +150.0 % | 1500/1500 |", "Every setting answered every prompt")
}
