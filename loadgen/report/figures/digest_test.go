package figures

import (
	"strings"
	"testing"

	"paceline/loadgen/report"
)

func TestADigestNamesTheRequestThatIsBroken(t *testing.T) {
	_, err := ReadDigest(strings.NewReader("{}\n\n{\"repeat\":\"x\"}\n"))
	if err == nil || !strings.Contains(err.Error(), "requests.jsonl: request 2:") {
		t.Error(err)
	}
}

func TestADigestKeepsTheSlowest(t *testing.T) {
	var b strings.Builder
	for repeat := range 3 {
		var run []report.Request
		for i := range 20 {
			run = append(run,
				report.Request{Setting: "4", Phase: "cold", Repeat: repeat + 1, SentSeconds: 1, LatencySeconds: float64(20*repeat + i)})
		}
		run = append(run, report.Request{Setting: "4", Phase: "cold", Repeat: repeat + 1, LatencySeconds: 99, Error: "Unavailable"})
		if err := report.WriteRequests(&b, run); err != nil {
			t.Fatal(err)
		}
	}
	d, err := ReadDigest(strings.NewReader(b.String()))
	if err != nil || len(d.Slowest) != maxSlow || d.Slowest[0].LatencySeconds != 59 {
		t.Errorf("%v, %+v", err, d)
	}
}
