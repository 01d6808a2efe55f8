package command

import (
	"math"
	"strings"
	"testing"

	"paceline/loadgen/journal"
	"paceline/loadgen/report"
)

func allRequests(t *testing.T, dir string) []report.Request {
	t.Helper()
	all, err := journal.ReadRequests(dir)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// small are the flags of a sweep with one setting.
var small = []string{"-sizes", "4", "-defaults=false", "-unbatched=false", "-repeats", "1"}

func TestAnOpenLoopIsMeasuredWithoutItsWarmUp(t *testing.T) {
	out := t.TempDir()
	e := loadgen(t, append(small, "-n", "40", "-rate", "20", "-arrival", "constant", "-warm-up", "300ms", "-out", out)...)
	if e.status != 0 {
		t.Fatalf("status %d: %s", e.status, e.stderr)
	}
	r := readReport(t, out)
	if a := r.Config.Arrival; a == nil || a.Process != "constant" || a.Rate != 20 || a.WarmUpSeconds != 0.3 ||
		r.Config.WarmUpPrompts != 16 {
		t.Errorf("%+v", r.Config)
	}
	for _, run := range r.Runs { // 20·0.3 = 6 are due in the warm-up, the first at 0
		if run.Arrivals == nil || run.Arrivals.WarmUp != 6 || run.Total != 34 || !run.Complete ||
			run.Arrivals.LatencyFromIntended.Mean < run.Latency.Mean {
			t.Errorf("%+v, %+v", run, run.Arrivals)
		}
	}
	warm := 0
	for _, q := range allRequests(t, out) {
		if q.WarmUp {
			warm++
		}
		if q.LatencyFromIntendedSeconds < q.LatencySeconds || q.SentSeconds < q.IntendedSeconds {
			t.Errorf("%+v", q)
		}
	}
	if warm != 12 {
		t.Errorf("%d requests of two warm-ups are marked, want 12", warm)
	}
}

func TestDroppedRequestsAreCountedAndEndWithStatusOne(t *testing.T) {
	out := t.TempDir()
	e := loadgen(t, append(small, "-n", "30", "-rate", "100000", "-most-outstanding", "2", "-out", out)...)
	if e.status != 1 || !strings.Contains(e.stderr, "requests were dropped") {
		t.Errorf("status %d: %s", e.status, e.stderr)
	}
	run := readReport(t, out).Runs[0]
	if run.Arrivals.Dropped == 0 || run.Completed+run.Arrivals.Dropped != 30 || run.Failed != 0 {
		t.Errorf("%+v, %+v", run, run.Arrivals)
	}
}

func TestARecordedTraceIsSentWithItsLengthsAndTimes(t *testing.T) {
	out := t.TempDir()
	trace := write(t, `{"timestamp": 5000, "input_length": 1200, "output_length": 9, "hash_ids": [1, 2, 3]}
{"timestamp": 5400, "input_length": 1300, "output_length": 9, "hash_ids": [1, 2, 4]}
{"timestamp": 9000, "input_length": 100, "output_length": 9, "hash_ids": [5]}
`)
	e := loadgen(t, append(small, "-trace", trace, "-speed", "2", "-out", out)...)
	if e.status != 0 {
		t.Fatalf("status %d: %s", e.status, e.stderr)
	}
	r := readReport(t, out)
	if r.Source.Kind != "trace" || r.Source.Requests != 3 || r.Config.Arrival.Process != "recorded" || !r.Runs[0].Complete ||
		r.Runs[0].WallSeconds < 2 {
		t.Errorf("%+v, %+v", r.Source, r.Runs[0])
	}
	all := allRequests(t, out)
	for i, want := range []float64{0, 0.2, 2} {
		if after := all[i].IntendedSeconds - all[0].IntendedSeconds; math.Abs(after-want) > 1e-6 {
			t.Errorf("request %d was due %v s after the first, want %v", i, after, want)
		}
	}
}

func TestWhatIsWrongWithALoadIsNamedByItsFlag(t *testing.T) {
	bad := write(t, `{"timestamp": 1}`)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-rate", "x"}, `-rate: expected conversations a second such as 20, got "x"`},
		{[]string{"-rate", "5.."}, "-rate: expected"},
		{[]string{"-rate", "0"}, "-rate: must be above 0"},
		{[]string{"-rate", "NaN"}, "-rate: must be above 0"},
		{[]string{"-rate", "5", "-arrival", "ramp"}, "-arrival: must be poisson or constant"},
		{[]string{"-arrival", "constant"}, "-arrival: needs -rate"},
		{[]string{"-when-full", "wait"}, "-when-full: needs -rate or -trace"},
		{[]string{"-most-outstanding", "3"}, "-most-outstanding: needs -rate or -trace"},
		{[]string{"-late-after", "1s"}, "-late-after: needs -rate or -trace"},
		{[]string{"-rate", "5", "-repeats", "9", "-stop-when", "2%"}, "-stop-when: looks at throughput"},
		{[]string{"-warm-up", "1s"}, "-warm-up: needs -rate or -trace"},
		{[]string{"-rate", "5", "-n", "5", "-warm-up", "1h"}, "-warm-up: leaves nothing to measure: the last of 5 conversations is due after"},
		{[]string{"-rate", "5", "-when-full", "x"}, "-when-full: must be drop or wait"},
		{[]string{"-rate", "5", "-most-outstanding", "0"}, "-most-outstanding: must be at least 1"},
		{[]string{"-speed", "2"}, "-speed: needs -trace"},
		{[]string{"-trace", "missing.jsonl"}, "missing.jsonl"},
		{[]string{"-trace", bad}, "line 1: input_length is missing"},
		{[]string{"-trace", bad, "-turns", "0"}, "-trace: has neither turns"},
		{[]string{"-trace", bad, "-problems", "x"}, "-trace: give it without"},
		{[]string{"-trace", bad, "-speed", "0"}, "-speed: must be above 0"},
		{[]string{"-chat-template", "llama"}, "must be qwen2.5, qwen3 or plain"},
		{[]string{"-chat-template", write(t, "user: x")}, "user: expected a text that holds {content} once"},
	} {
		e := loadgen(t, c.args...)
		if e.status != 2 || !strings.Contains(e.stderr, c.want) || strings.Count(e.stderr, "\n") != 1 {
			t.Errorf("%v: status %d: %s", c.args, e.status, e.stderr)
		}
	}
}

func TestConversationsAreReplayedThroughTheProxy(t *testing.T) {
	out := t.TempDir()
	e := loadgen(t, "-n", "4", "-turns", "3", "-env-scale", "0.1", "-rollouts", "2", "-sizes", "4", "-defaults=false",
		"-unbatched=false", "-repeats", "1", "-out", out)
	if e.status != 0 {
		t.Fatalf("status %d: %s", e.status, e.stderr)
	}
	r := readReport(t, out)
	if len(r.Runs) != 2 || r.Runs[0].Completed != 24 || r.Source.Requests != 24 || r.Source.Count != 4 {
		t.Fatalf("%+v", r.Source)
	}
	if cold := r.Runs[0].CachedShare(); cold < 0.6 {
		t.Errorf("only %.2f of a conversation's tokens were cached", cold)
	}
}
