package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"paceline/loadgen/stats"
)

func TestResultsHoldTheFieldsThatOthersRead(t *testing.T) {
	var b bytes.Buffer
	if err := WriteJSON(&b, full()); err != nil {
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
	if got.FormatVersion != 1 || got.Simulated == nil || !*got.Simulated || len(got.Runs) != 36 {
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
	if got.Runs[0]["wall_seconds"] != 14.59 || math.Abs(got.Runs[0]["wall_clock_seconds"].(float64)-2.918) > 1e-9 {
		t.Error("real seconds are not the simulated ones by the speed")
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	for _, r := range []Report{full(), cutShort(), of()} {
		var b bytes.Buffer
		if err := WriteJSON(&b, r); err != nil {
			t.Fatal(err)
		}
		got, err := ReadJSON(&b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r.settled(), got); diff != "" {
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

func TestZeroAnswersAndNoTimeMakeNoNaN(t *testing.T) {
	r := of([]Run{
		a(shape{setting: "1", phase: "cold", repeat: 1, completed: -1}),
		a(shape{setting: "2", phase: "cold", repeat: 1}), // in no time at all
		{Setting: "4", Mode: "fixed", BatchSize: 4, Phase: "warm"},
	})
	rendersFinite(t, r)
	if got := names(r.phases()[0].cells); got != "2:0 1:0 " && got != "1:0 2:0 " {
		t.Errorf("ranks %s", got)
	}
}

func TestNoFormatEverHoldsANumberThatIsNotFinite(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		odd := rapid.SampledFrom([]float64{0, -1, 1e-300, 1, math.MaxFloat64, math.NaN(), math.Inf(1), math.Inf(-1)})
		runs := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Run {
			v := func(name string) float64 { return odd.Draw(t, name) }
			busy, cpu := v("busy"), v("cpu")
			return Run{
				Setting: rapid.SampledFrom([]string{"1", "8", "unbatched"}).Draw(t, "setting"), Mode: rapid.SampledFrom([]string{"fixed", "unbatched"}).Draw(t, "mode"),
				Phase: rapid.SampledFrom([]string{"cold", "warm"}).Draw(t, "phase"), BatchSize: rapid.IntRange(0, 8).Draw(t, "size"),
				Total: rapid.IntRange(-1, 9).Draw(t, "total"), Completed: rapid.IntRange(-1, 9).Draw(t, "completed"),
				WallSeconds: v("wall"), RequestThroughput: v("throughput"), InputTokenThroughput: v("tokens"), EffectiveBatchSize: v("effective"),
				PromptTokens: rapid.Int64Range(-1, 9).Draw(t, "prompt"), CachedTokens: rapid.Int64Range(-1, 9).Draw(t, "cached"),
				Latency: stats.Summary{Count: 1, Mean: v("mean"), P99: v("p99")}, ServerBusySeconds: &busy, ProcessCPUSeconds: &cpu,
			}
		}), 0, 8).Draw(t, "runs")
		r := of(runs)
		r.Simulation = &Simulation{Speed: odd.Draw(t, "speed")}
		r.EnvExec = &EnvExec{MeanSeconds: odd.Draw(t, "mean_seconds")}
		r.Config.MaxWaitSeconds = odd.Draw(t, "max_wait")
		rendersFinite(t, r)
	})
}

type failer interface {
	Helper()
	Fatal(args ...any)
}

// rendersFinite writes every format and looks for what is no number.
func rendersFinite(t failer, r Report) {
	t.Helper()
	for name, write := range everyFormat {
		var b bytes.Buffer
		if err := write(&b, r); err != nil {
			t.Fatal(name, err)
		}
		for _, word := range []string{"NaN", "Inf"} {
			if strings.Contains(b.String(), word) {
				t.Fatal(name, "holds", word, b.String())
			}
		}
	}
}

func TestANumberThatIsNotFiniteIsNotedAndTheCallersReportStaysAsItWas(t *testing.T) {
	r := of(repeats("8", "cold", 0.4, 10))
	r.Runs[0].WallSeconds = math.NaN()
	contains(t, notesOf(r), "Batch size 8, cold, repeat 1: wall_seconds was not a finite number and is written as 0.")
	if !math.IsNaN(r.Runs[0].WallSeconds) || r.Runs[0].Notes != nil {
		t.Error("the caller's report was changed")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestAFailedWriteIsAnError(t *testing.T) {
	for _, write := range everyFormat {
		if err := write(broken{}, full()); err == nil || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("got %v", err)
		}
	}
}

func FuzzReadJSON(f *testing.F) {
	for _, r := range []Report{full(), cutShort()} {
		var b bytes.Buffer
		if err := WriteJSON(&b, r); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte(`{"format_version":1,"runs":[{"phase":"cold","completed":1,"total":1,"wall_seconds":-1}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ReadJSON(bytes.NewReader(data))
		if err != nil {
			return
		}
		for _, write := range everyFormat {
			if err := write(io.Discard, r); err != nil {
				t.Fatal(err)
			}
		}
	})
}
