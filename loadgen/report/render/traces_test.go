package render

import (
	"bytes"
	"strings"
	"testing"

	"paceline/loadgen/report"
)

func traced() report.Report {
	r := of([]report.Run{a(shape{setting: "4", phase: "cold", repeat: 1, wall: 15, completed: 498})})
	r.Tracing = &report.Tracing{URL: "http://127.0.0.1:16686/trace/", Sampler: "parentbased_traceidratio 0.01"}
	for i := range 20 {
		r.Runs[0].Traces = append(r.Runs[0].Traces,
			report.Trace{ID: strings.Repeat("a", 30) + string(rune('a'+i)) + "0", Trajectory: "repo-1", Seconds: float64(i)})
	}
	r.Runs[0].Traces = append(r.Runs[0].Traces, report.Trace{ID: "ffff", Trajectory: "repo-2", Seconds: 0.5, Cause: "Unavailable"})
	return r
}

func TestTheSlowestAndTheFailedAreNamedWithTheirTraces(t *testing.T) {
	var markdown, terminal bytes.Buffer
	if err := WriteMarkdown(&markdown, figuresOf(traced()), English); err != nil {
		t.Fatal(err)
	}
	if err := WriteTerminal(&terminal, figuresOf(traced()), English); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"## Traces", "parentbased_traceidratio 0.01",
		"| 19.0 | answered | 4 | cold | 1 | repo-1 | [" + strings.Repeat("a", 30) + "t0](http://127.0.0.1:16686/trace/",
		"| 0.500 | Unavailable | 4 | cold | 1 | repo-2 | [ffff](http://127.0.0.1:16686/trace/ffff) |", "1 more failed requests are not listed",
	} {
		if !strings.Contains(markdown.String(), want) {
			t.Errorf("report.md lacks %q:\n%s", want, markdown.String())
		}
	}
	if strings.Contains(markdown.String(), "| 14.0 | answered") {
		t.Error("more than five slow ones")
	}
	if !strings.Contains(terminal.String(), "0.500 s  Unavailable  cold 4  http://127.0.0.1:16686/trace/ffff") {
		t.Error(terminal.String())
	}
}

func TestWithoutTracingThereIsNoWordOfTraces(t *testing.T) {
	r := traced()
	r.Tracing = nil
	var markdown bytes.Buffer
	if err := WriteMarkdown(&markdown, figuresOf(r), English); err != nil || strings.Contains(markdown.String(), "Traces") {
		t.Errorf("%v %s", err, markdown.String())
	}
}
