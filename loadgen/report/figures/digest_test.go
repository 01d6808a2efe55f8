package figures

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"paceline/loadgen/report"
)

func TestTheTimelineCountsWhatWasUnderWay(t *testing.T) {
	// Two callers, ten seconds; one of the two waits for the first half of each second.
	var run []report.Request
	for i := range 10 {
		run = append(run,
			report.Request{SentSeconds: float64(i), LatencySeconds: 1, QueueWaitSeconds: 0.5, BatchID: fmt.Sprint("a", i), BatchSize: 1},
			report.Request{SentSeconds: float64(i), LatencySeconds: 1, BatchID: fmt.Sprint("b", i), BatchSize: 2})
	}
	l := timelineOf(run)
	var inFlight, waiting float64
	for i := range l.InFlight {
		inFlight += l.InFlight[i] / TimelineParts
		waiting += l.Waiting[i] / TimelineParts
		if math.Abs(l.InFlight[i]-2) > 1e-9 {
			t.Errorf("part %d: %v under way", i, l.InFlight[i])
		}
	}
	if math.Abs(inFlight-2) > 1e-9 || math.Abs(waiting-0.5) > 1e-9 || l.Seconds != 10 || len(l.Batches) != 20 {
		t.Errorf("%v under way, %v waiting, %v s, %d batches", inFlight, waiting, l.Seconds, len(l.Batches))
	}
}

func TestADigestNamesTheRequestThatIsBroken(t *testing.T) {
	_, err := ReadDigest(strings.NewReader("{}\n\n{\"repeat\":\"x\"}\n"))
	if err == nil || !strings.Contains(err.Error(), "requests.jsonl: request 2:") {
		t.Error(err)
	}
}

func TestADigestKeepsTheSlowestAndTheFirstRunOfEachSetting(t *testing.T) {
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
	if err != nil || len(d.Timelines) != 1 || d.Timelines[0].Repeat != 1 || len(d.Slowest) != maxSlow || d.Slowest[0].LatencySeconds != 59 {
		t.Errorf("%v, %+v", err, d)
	}
}
