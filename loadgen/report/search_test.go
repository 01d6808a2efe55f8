package report

import (
	"strings"
	"testing"
)

func TestAnObjectiveIsReadAndWhatIsWrongIsNamed(t *testing.T) {
	for text, want := range map[string]Objective{"p99<500ms": {99, 0.5}, "p50 < 2s": {50, 2}, "p90<1m30s": {90, 90}} {
		if o, err := ParseObjective(text); err != nil || o != want {
			t.Errorf("%q: %+v, %v", text, o, err)
		} else if again, err := ParseObjective(o.String()); err != nil || again != o {
			t.Errorf("%q is written as %q", text, o)
		}
	}
	for text, want := range map[string]string{
		"":          "expected a percentile, < and a bound, such as p99<500ms, got",
		"p99>1s":    "expected a percentile, < and a bound",
		"p95<1s":    `percentile: expected p50, p90 or p99, got "p95"`,
		"mean<1s":   "percentile: expected",
		"p99<500":   `bound: expected a duration above 0 such as 500ms, got "500"`,
		"p99<-1s":   "bound: expected",
		"p99<1s<2s": "bound: expected",
		"p99 < 1 s": "expected a percentile",
	} {
		if _, err := ParseObjective(text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// judged is 100 requests a second apart, after one of the warm-up. late are those that take 3 s.
func judged(late func(i int) bool) (all []Request) {
	all = append(all, Request{WarmUp: true, LatencyFromIntendedSeconds: 100})
	for i := range 100 {
		r := Request{IntendedSeconds: 1 + float64(i), LatencyFromIntendedSeconds: 0.1}
		if late(i) {
			r.LatencyFromIntendedSeconds = 3
		}
		all = append(all, r)
	}
	return all
}

func TestARunKeepsAnObjectiveOnlyIfItsLaterHalfDoes(t *testing.T) {
	o := Objective{90, 1}
	run := Run{PromptTokens: 1, Completed: 100, Arrivals: &Arrivals{WarmUpSeconds: 1}}
	for name, c := range map[string]struct {
		late func(int) bool
		want Outcome
	}{
		"all in time":      {func(int) bool { return false }, Outcome{true, 1, 1, 1}},
		"late at the end":  {func(i int) bool { return i >= 91 }, Outcome{false, 0.91, 0.82, 0.91}},
		"late everywhere":  {func(i int) bool { return i%10 == 0 }, Outcome{true, 0.9, 0.9, 0.9}},
		"late at one more": {func(i int) bool { return i%10 == 0 || i == 55 }, Outcome{false, 0.89, 0.88, 0.89}},
	} {
		if got := o.Judge(run, judged(c.late), 1); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	failed := judged(func(int) bool { return false })
	for i := range 11 {
		failed[1+9*i].Error, failed[2+9*i].Dropped = "Unavailable", true
	}
	if got := o.Judge(run, failed, 1); got.Kept || got.Within != 0.78 {
		t.Errorf("with failures: %+v", got)
	}
	run.ImpossibleCounts, run.ImpossibleCause = 1, "0 prompt tokens"
	if got := o.Judge(run, judged(func(int) bool { return false }), 1); got.Kept {
		t.Error("a run whose counts can't be true keeps the objective")
	}
}

func TestTheEdgeIsBelowAllThatBrokeAndAboveAllThatKept(t *testing.T) {
	var runs []Run
	at := func(rate float64, repeat int, kept bool) {
		runs = append(runs, Run{Rate: rate, Repeat: repeat, Outcome: &Outcome{Kept: kept}})
	}
	for i := 1; i <= 3; i++ {
		at(10, i, true)
		at(11, i, i != 2) // mixed
		at(12, i, true)   // above one that broke it
		at(13, i, false)
		at(15, i, false)
	}
	at(9, 0, false) // scouting
	at(14, 0, true)
	if kept, broke := Edge(runs, 3); kept != 10 || broke != 13 {
		t.Errorf("%v to %v", kept, broke)
	}
	if kept, broke := Edge(runs, 4); kept != 0 || broke != 0 {
		t.Errorf("of too few repeats: %v to %v", kept, broke)
	}
	runs[0].Interrupted = true
	if kept, _ := Edge(runs, 3); kept != 0 {
		t.Errorf("an interrupted run counts: %v", kept)
	}
}
