package render

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"paceline/loadgen/report"
)

// dimensional is a sweep over sizes and batches in flight: with 1 in flight the size
// counts, with 4 it does not.
func dimensional() report.Report {
	var groups [][]report.Run
	for _, size := range []int{1, 2, 4, 8} {
		for _, inFlight := range []int{1, 4} {
			wall := 40.0 / float64(size)
			if inFlight == 4 {
				wall = 12
			}
			runs := repeats("4", "cold", 0.447, wall*1.01, wall, wall*0.99)
			for i := range runs {
				wait := 0.005
				runs[i].Setting, runs[i].BatchSize = fmt.Sprintf("%d, %d in flight", size, inFlight), size
				runs[i].MaxInFlight, runs[i].MaxWaitSeconds, runs[i].Order = inFlight, &wait, "fifo"
			}
			groups = append(groups, runs)
		}
	}
	r := of(append(groups, repeats("unbatched", "cold", 0.447, 13, 13.1, 12.9))...)
	r.Config.MaxInFlights, r.Config.MaxWaitsSeconds, r.Config.Orders = []int{1, 4}, []float64{0.005}, []string{"fifo"}
	return r
}

func TestSizesAreComparedWithTheRestTheSame(t *testing.T) {
	var b bytes.Buffer
	if err := WriteMarkdown(&b, figuresOf(dimensional()), English); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{
		"| 8, 1 in flight | 1, 1 in flight | +700.0 % | 8.00× | yes |",
		"| 8, 4 in flight | 1, 4 in flight | +0.0 % | 1.00× | no |",
		"| unbatched (single calls) | 1, 4 in flight |",
		"- 1 in flight: From batch size 1 to 8, throughput goes from 12.50 to 100.0 requests/s (+700.0 %), never falling.",
		"every batch size with at most 1 or 4 in flight, 0.005 s of waiting, in order fifo",
		"batch 1, 1 in flight; 1, 4 in flight; 2, 1 in flight",
		"### Batch size 8, 4 in flight",
		"Cold: of 8 combinations of batch size and other settings, “8, 1 in flight” has the highest figure, 100.0 requests/s, " +
			"and the repeats tell it apart from all others. Beside “1 in flight”: take batch size 8",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "4 in flight: Single calls") {
		t.Error("single calls are set against more than the best")
	}
}

func TestTheReportTellsHowTheSweepWent(t *testing.T) {
	r := full()
	r.Resumed = []time.Time{made.Add(time.Hour)}
	r.Config.Repeats, r.Config.StopWhen, r.Config.Settings = 20, 0.02, []string{"1", "2"}
	r.Config.Phases = []string{"warm"}
	forwards, sequences := int64(10), int64(125)
	r.Runs[0].ServerForwards, r.Runs[0].ServerSequences = &forwards, &sequences
	var b bytes.Buffer
	if err := WriteMarkdown(&b, figuresOf(r), English); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"resumed at 2026-11-23 14:33:18 UTC: 36 runs were measured before that and kept",
		"A setting was repeated at least 5 and at most 20 times", "Repeats stopped early at 1 (3); 2 (3).", "such an interval is too narrow",
		"once unmeasured", "10 forwards, 12.50 new sequences each (#new-seq)",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
