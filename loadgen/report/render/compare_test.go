package render

import (
	"bytes"
	"strings"
	"testing"

	"paceline/loadgen/report/figures"
)

func TestAComparisonSaysWhatChangedAndWhetherRepeatsTellIt(t *testing.T) {
	before := of(repeats("4", "cold", 0.4, 15, 15.1, 15.2), repeats("8", "cold", 0.4, 15, 15.1, 15.2), repeats("2", "cold", 0.4, 9))
	after := of(repeats("4", "cold", 0.4, 10, 10.1, 10.2), repeats("8", "cold", 0.4, 15.05, 15.15, 15), repeats("16", "cold", 0.4, 9))
	after.Config.Concurrency = 32
	var out bytes.Buffer
	if err := WriteComparison(&out, figures.Compare(before, after)); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{
		"not the same: callers: 64 before, 32 after", "cold 4 33.11 32.89 – 33.33 49.50 49.02 – 50.00 +49.5 % yes",
		"cold 8 33.11 32.89 – 33.33 33.22 33.00 – 33.33 +0.3 % no", "only before: cold 2", "only after: cold 16",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q:\n%s", want, out.String())
		}
	}
	if strings.Count(text, "cold 2") != 1 || strings.Count(text, "cold 16") != 1 {
		t.Errorf("compares what was measured once:\n%s", out.String())
	}
	if err := WriteComparison(&out, figures.Compare(before, of(repeats("1", "warm", 1, 3)))); err == nil {
		t.Error("nothing in common, and no error")
	}
}
