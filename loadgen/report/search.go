package report

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// Objective is what loadgen find holds a load to: a percentile of the latencies, from when requests were
// due, stays below a bound. A request that failed or was dropped is never within the bound.
type Objective struct {
	Percentile float64 `json:"percentile"`    // 50, 90 or 99
	Seconds    float64 `json:"bound_seconds"` // the bound
}

var objectiveForm = regexp.MustCompile(`^\s*([a-z0-9.]+)\s*<\s*(\S+)\s*$`)

// ParseObjective parses p50, p90 or p99, <, and a duration: p99<500ms. Its error names the part that is
// wrong and what was expected.
func ParseObjective(text string) (o Objective, err error) {
	m := objectiveForm.FindStringSubmatch(text)
	if m == nil {
		return o, fmt.Errorf("expected a percentile, < and a bound, such as p99<500ms, got %q", text)
	}
	if !slices.Contains([]string{"p50", "p90", "p99"}, m[1]) {
		return o, fmt.Errorf("percentile: expected p50, p90 or p99, got %q", m[1])
	}
	bound, err := time.ParseDuration(m[2])
	if err != nil || bound <= 0 {
		return o, fmt.Errorf("bound: expected a duration above 0 such as 500ms, got %q", m[2])
	}
	percentile, err := strconv.ParseFloat(m[1][1:], 64)
	return Objective{percentile, bound.Seconds()}, err
}

// String returns the objective as ParseObjective reads it.
func (o Objective) String() string {
	return fmt.Sprintf("p%g<%v", o.Percentile, time.Duration(o.Seconds*float64(time.Second)))
}

// Outcome is what became of the objective in one run.
type Outcome struct {
	Kept       bool    `json:"kept"`        // over all requests that count, and over the later half of them
	Within     float64 `json:"within"`      // share of the requests that were answered within the bound
	WithinLate float64 `json:"within_late"` // the same of the later half, by when they were due
	Goodput    float64 `json:"goodput"`     // answers within the bound per second, if requests are due as often as the rate says
}

// Judge says what became of the objective in a run with these requests. due is the rate in answers per second
// that was asked for. Requests of the warm-up do not count. The later half must keep the objective, too: a
// queue that grows breaks it there first.
func (o Objective) Judge(run Run, requests []Request, due float64) (out Outcome) {
	counted := slices.DeleteFunc(slices.Clone(requests), func(r Request) bool { return r.WarmUp })
	if len(counted) == 0 || run.Impossible() != "" {
		return out
	}
	slices.SortStableFunc(counted, func(a, b Request) int { return cmp.Compare(a.IntendedSeconds, b.IntendedSeconds) })
	good, late, answers, all := 0, 0, 0, 0
	for i, r := range counted {
		all += max(1, r.Questions)
		if r.Error != "" || r.Dropped || r.LatencyFromIntendedSeconds >= o.Seconds {
			continue
		}
		good, answers = good+1, answers+max(1, r.Questions)
		if i >= len(counted)/2 {
			late++
		}
	}
	out.Within = float64(good) / float64(len(counted))
	out.WithinLate = float64(late) / float64(len(counted)-len(counted)/2)
	out.Kept = min(out.Within, out.WithinLate) >= o.Percentile/100
	out.Goodput = due * float64(answers) / float64(all)
	return out
}

// Edge returns the largest rate below all that broke the objective in a run, and the smallest above all that
// kept it in a run, each with at least so many runs as repeats says; 0 where there is none. Scouting
// runs do not count. The runs must be of one setting in one phase.
func Edge(runs []Run, repeats int) (kept, broke float64) {
	counts := map[float64]int{}
	highest, lowest := 0.0, math.Inf(1) // that kept it, and that broke it
	for _, r := range runs {
		switch {
		case r.Outcome == nil || r.Repeat == 0 || r.Interrupted:
			continue
		case r.Outcome.Kept:
			highest = max(highest, r.Rate)
		default:
			lowest = min(lowest, r.Rate)
		}
		counts[r.Rate]++
	}
	for rate, n := range counts {
		switch {
		case n < repeats:
		case rate < lowest:
			kept = max(kept, rate)
		case rate > highest && (broke == 0 || rate < broke):
			broke = rate
		}
	}
	return kept, broke
}

// Of returns the objective's percentile of a run's latencies from when requests were due, in seconds.
func (o Objective) Of(r Run) float64 {
	l := r.Due().LatencyFromIntended
	switch o.Percentile {
	case 50:
		return l.P50
	case 90:
		return l.P90
	}
	return l.P99
}
