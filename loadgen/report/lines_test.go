package report

import (
	"bytes"
	"strings"
	"testing"
)

func TestBenchmarkLinesHoldCompleteRunsOnly(t *testing.T) {
	r := of([]Run{a(shape{setting: "4", phase: "cold", repeat: 1, wall: 10}), a(shape{setting: "8", phase: "cold", repeat: 1, wall: 50, completed: 499})})
	var out bytes.Buffer
	if err := WriteBenchmarks(&out, r); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "BenchmarkPrefill/setting=4/cache=cold 500 0.02 sec/op 50 requests/s ") || strings.Contains(out.String(), "setting=8") {
		t.Error(out.String())
	}
}

func TestRequestsAreALineEach(t *testing.T) {
	var out bytes.Buffer
	err := WriteRequests(&out, []Request{{Setting: "4", Phase: "cold", Repeat: 1, Trajectory: "a", LatencySeconds: 0.5, PromptTokens: 7}, {Setting: "4", Phase: "cold", Repeat: 1, Trajectory: "b", Error: "Unavailable"}})
	want := `{"setting":"4","phase":"cold","repeat":1,"trajectory":"a","sent_seconds":0,"latency_seconds":0.5,"intended_seconds":0,"latency_from_intended_seconds":0,"prompt_tokens":7,"cached_tokens":0}
{"setting":"4","phase":"cold","repeat":1,"trajectory":"b","sent_seconds":0,"latency_seconds":0,"intended_seconds":0,"latency_from_intended_seconds":0,"error":"Unavailable","prompt_tokens":0,"cached_tokens":0}
`
	if err != nil || out.String() != want {
		t.Errorf("%v\n%s", err, out.String())
	}
}
