package trajectory

import (
	"strings"
	"testing"
)

func TestEachQuantityIsMeasuredAndSetBesideWhatWasPublished(t *testing.T) {
	var text strings.Builder
	if err := Describe(&text, []Described{{"ours", Generate(3, 9)}}, nil); err != nil {
		t.Fatal(err)
	}
	measured := measure(Generate(3, 9), func(string) int { return 1 })
	for _, q := range quantities {
		if len(q.published) == 0 || len(measured[q.name]) == 0 || !strings.Contains(text.String(), q.name+" ") {
			t.Errorf("%s: %v\n%s", q.name, measured[q.name], text.String())
		}
	}
	if len(measured) != len(quantities) || measured["thought, tokens"][0] != 1 {
		t.Errorf("%d measured, %d described", len(measured), len(quantities))
	}
}
