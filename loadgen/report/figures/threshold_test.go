package figures

import (
	"strings"
	"testing"

	"paceline/loadgen/report"
	"paceline/loadgen/stats"
)

func TestThresholdsThatDoNotHoldAreNamedWithTheirSetting(t *testing.T) {
	r := of(repeats("4", 10), repeats("8", 50))
	for i := range r.Runs {
		r.Runs[i].Arrivals = &report.Arrivals{LatencyFromIntended: stats.Summary{Count: 500, P99: 2.04}}
	}
	r.Runs[1].Arrivals.Dropped, r.Runs[1].Arrivals.Late = 10, 40
	for text, want := range map[string][]string{
		"throughput<30":  {"throughput<30: throughput is 10.0 at 8, cold"},
		"throughput < 5": nil,
		"p99>1ms":        {"at 4, cold", "at 8, cold"},
		"max>1e6s":       nil,
		"failed>0%":      nil,
		"cached<10%":     {"at 4, cold", "at 8, cold"},
		"duep99>2s":      {"at 4, cold", "at 8, cold"}, "duep99>3s": nil, "dropped>0": {"at 8, cold"}, "late>5%": {"at 8, cold"}, "late>9%": nil,
	} {
		threshold, err := ParseThreshold(text)
		if err != nil {
			t.Fatal(err)
		}
		got := Failures(r, []Threshold{threshold})
		if len(got) != len(want) {
			t.Errorf("%s: %q", text, got)
			continue
		}
		all := strings.Join(got, "\n")
		for _, w := range want {
			if !strings.Contains(all, w) {
				t.Errorf("%s: %q lacks %q", text, got, w)
			}
		}
	}
}

func TestAWrongThresholdIsExplained(t *testing.T) {
	for text, want := range map[string]string{
		"p98>2s": `"p98" is no metric: must be one of cached, dropped, duemax`, "p99=2": "such as p99>2s",
		"": "such as p99>2s", "p99>2h": "such as p99>2s", "p99>1e": "must be a number",
	} {
		if _, err := ParseThreshold(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzParseThreshold(f *testing.F) {
	for _, text := range []string{"p99>2s", "throughput<30", "failed > 1 %", "x>", "p99>1e999"} {
		f.Add(text)
	}
	r := of(repeats("4", 10))
	f.Fuzz(func(t *testing.T, text string) {
		if threshold, err := ParseThreshold(text); err == nil {
			for _, failure := range Failures(r, []Threshold{threshold}) {
				if !strings.Contains(failure, threshold.metric) {
					t.Fatal(failure)
				}
			}
		}
	})
}
