package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the schema anew")

// made is the day of every fixture.
var made = time.Date(2026, 11, 23, 13, 33, 18, 0, time.UTC)

// sample is a simulated sweep of four runs.
func sample() Report {
	load, wait, uncached := 4.4, 0.005, int64(4)
	r := Report{
		FormatVersion: FormatVersion, CreatedAt: made, Simulated: true, Simulation: &Simulation{Profile: "h100"},
		Server: Server{LoadSeconds: &load}, Config: Config{Concurrency: 64}, EnvExec: &EnvExec{Steps: 3}, Files: []string{"report.md"},
	}
	for repeat, phase := range []string{"cold", "warm", "cold", "warm"} {
		r.Runs = append(r.Runs, Run{
			Setting: "4, 2 in flight", Mode: "fixed", BatchSize: 4, Phase: phase, Repeat: repeat/2 + 1, MaxInFlight: 2,
			MaxWaitSeconds: &wait, StartedAt: made,
			Total: 500, Completed: 500, Complete: true, WallSeconds: 14.59, RequestThroughput: 34.27, PromptTokens: 7, CachedTokens: 3,
			ServerUncachedTokens: &uncached,
		})
	}
	return r
}

func TestResultsHoldTheFieldsThatOthersRead(t *testing.T) {
	var b bytes.Buffer
	if err := WriteJSON(&b, sample()); err != nil {
		t.Fatal(err)
	}
	var got struct {
		FormatVersion int   `json:"format_version"`
		Simulated     *bool `json:"simulated"`
		Runs          []map[string]any
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.FormatVersion != 1 || got.Simulated == nil || !*got.Simulated || len(got.Runs) != 4 {
		t.Errorf("got version %d, %d runs", got.FormatVersion, len(got.Runs))
	}
	for _, field := range []string{
		"batch_size", "phase", "total", "completed", "wall_seconds", "wall_clock_seconds",
		"request_throughput", "prompt_tokens", "cached_tokens", "effective_batch_size",
	} {
		if _, ok := got.Runs[0][field]; !ok {
			t.Errorf("a run has no %s", field)
		}
	}
	if got.Runs[0]["wall_seconds"] != 14.59 || got.Runs[0]["wall_clock_seconds"] != 14.59 {
		t.Errorf("%v", got.Runs[0])
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	for _, r := range []Report{sample(), {}} {
		var b bytes.Buffer
		if err := WriteJSON(&b, r); err != nil {
			t.Fatal(err)
		}
		got, err := ReadJSON(&b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r.Settled(), got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestListsAreNeverNull(t *testing.T) {
	var b bytes.Buffer
	if err := WriteJSON(&b, Report{}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "null") {
		t.Error(b.String())
	}
}

func TestOtherVersionsAndBrokenFilesAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		`{"format_version": 2}`: "format_version is 2, expected 1",
		`{"format_version": `:   "results.json",
		``:                      "results.json",
	} {
		if _, err := ReadJSON(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestReportsOfBeforeTellNoArrivals(t *testing.T) {
	r, err := ReadJSON(strings.NewReader(`{"format_version": 1, "runs": [{"setting": "8", "total": 3, "completed": 1}]}`))
	if err != nil || r.Runs[0].Dropped() != 0 {
		t.Error(err)
	}
}
