package report

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

func TestRequestsAreALineEach(t *testing.T) {
	var out bytes.Buffer
	err := WriteRequests(&out, []Request{
		{Setting: "4", Phase: "cold", Repeat: 1, Trajectory: "a", LatencySeconds: 0.5, PromptTokens: 7},
		{Setting: "4", Phase: "cold", Repeat: 1, Trajectory: "b", Error: "Unavailable"},
	})
	want := `{"setting":"4","phase":"cold","repeat":1,"trajectory":"a","sent_seconds":0,"latency_seconds":0.5,` +
		`"intended_seconds":0,"latency_from_intended_seconds":0,"prompt_tokens":7,"cached_tokens":0}` + "\n" +
		`{"setting":"4","phase":"cold","repeat":1,"trajectory":"b","sent_seconds":0,"latency_seconds":0,` +
		`"intended_seconds":0,"latency_from_intended_seconds":0,"error":"Unavailable","prompt_tokens":0,"cached_tokens":0}` + "\n"
	if err != nil || out.String() != want {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestSettingsOfOneSizeStandInTheirOrder(t *testing.T) {
	var runs []Run
	for _, size := range []int{8, 1} {
		for _, inFlight := range []int{4, 1} {
			runs = append(runs,
				Run{Setting: fmt.Sprintf("%d, %d in flight", size, inFlight), Mode: "fixed", BatchSize: size, MaxInFlight: inFlight})
		}
	}
	runs = append([]Run{{Setting: "unbatched", Mode: "unbatched"}}, runs...)
	want := []string{"1, 1 in flight", "1, 4 in flight", "8, 1 in flight", "8, 4 in flight", "unbatched"}
	if got := Settings(runs); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestOfARunsTracesAFewSlowAndAFewFailedAreKept(t *testing.T) {
	var all []Trace
	for i := range 100 {
		one := Trace{Seconds: float64(i % 37)}
		if i%2 == 0 {
			one.Cause = "Unavailable"
		}
		all = append(all, one)
	}
	kept := WorthSeeing(all)
	if len(kept) != 2*MaxTraces {
		t.Fatalf("%d kept", len(kept))
	}
	for i := 1; i < len(kept); i++ {
		if kept[i].Seconds > kept[i-1].Seconds {
			t.Errorf("%v after %v", kept[i].Seconds, kept[i-1].Seconds)
		}
	}
}
