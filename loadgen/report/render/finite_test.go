package render

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"paceline/loadgen/report"
	"paceline/loadgen/stats"
)

func TestZeroAnswersAndNoTimeMakeNoNaN(t *testing.T) {
	r := of([]report.Run{
		a(shape{setting: "1", phase: "cold", repeat: 1, completed: -1}),
		a(shape{setting: "2", phase: "cold", repeat: 1}), // in no time at all
		{Setting: "4", Mode: "fixed", BatchSize: 4, Phase: "warm"},
	})
	rendersFinite(t, r)
	for _, c := range figuresOf(r).Phases[0].Cells {
		if c.Rank != 0 {
			t.Errorf("%s has rank %d", c.Setting, c.Rank)
		}
	}
}

func TestNoFormatEverHoldsANumberThatIsNotFinite(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		odd := rapid.SampledFrom([]float64{0, -1, 1e-300, 1, math.MaxFloat64, math.NaN(), math.Inf(1), math.Inf(-1)})
		runs := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) report.Run {
			v := func(name string) float64 { return odd.Draw(t, name) }
			busy, cpu := v("busy"), v("cpu")
			return report.Run{
				Setting: rapid.SampledFrom([]string{"1", "8", "unbatched"}).Draw(t, "setting"),
				Mode:    rapid.SampledFrom([]string{"fixed", "unbatched"}).Draw(t, "mode"),
				Phase:   rapid.SampledFrom([]string{"cold", "warm"}).Draw(t, "phase"), BatchSize: rapid.IntRange(0, 8).Draw(t, "size"),
				Total: rapid.IntRange(-1, 9).Draw(t, "total"), Completed: rapid.IntRange(-1, 9).Draw(t, "completed"),
				WallSeconds: v("wall"), EffectiveBatchSize: v("effective"),
				RequestThroughput: v("throughput"), InputTokenThroughput: v("tokens"),
				PromptTokens: rapid.Int64Range(-1, 9).Draw(t, "prompt"), CachedTokens: rapid.Int64Range(-1, 9).Draw(t, "cached"),
				Latency: stats.Summary{Count: 1, Mean: v("mean"), P99: v("p99")}, ServerBusySeconds: &busy, ProcessCPUSeconds: &cpu,
			}
		}), 0, 8).Draw(t, "runs")
		r := of(runs)
		r.Simulation = &report.Simulation{Speed: odd.Draw(t, "speed")}
		r.EnvExec = &report.EnvExec{MeanSeconds: odd.Draw(t, "mean_seconds")}
		r.Config.MaxWaitSeconds = odd.Draw(t, "max_wait")
		rendersFinite(t, r)
	})
}

type failer interface {
	Helper()
	Fatal(args ...any)
}

// rendersFinite writes every format and looks for what is no number.
func rendersFinite(t failer, r report.Report) {
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
	for _, r := range []report.Report{full(), cutShort()} {
		var b bytes.Buffer
		if err := report.WriteJSON(&b, r); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte(`{"format_version":1,"runs":[{"phase":"cold","completed":1,"total":1,"wall_seconds":-1}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := report.ReadJSON(bytes.NewReader(data))
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

func TestANumberThatIsNotFiniteIsNoted(t *testing.T) {
	r := of(repeats("8", "cold", 0.4, 10))
	r.Runs[0].WallSeconds = math.NaN()
	contains(t, sectionOf(t, r, "notes"), "Batch size 8, cold, repeat 1: wall_seconds was not a finite number and is written as 0.")
	if !math.IsNaN(r.Runs[0].WallSeconds) || r.Runs[0].Notes != nil {
		t.Error("the caller's report was changed")
	}
}
