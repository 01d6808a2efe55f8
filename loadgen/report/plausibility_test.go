package report

import (
	"bytes"
	"strings"
	"testing"

	"paceline/loadgen/phrase"
	"paceline/loadgen/plausibility"
)

func TestAFigureThatNoDeviceCanReachIsCalledImpossible(t *testing.T) {
	h100, err := plausibility.DeviceNamed("h100")
	if err != nil {
		t.Fatal(err)
	}
	r := of(
		[]Run{a(shape{setting: "4", phase: "cold", repeat: 1, wall: 30}), a(shape{setting: "8", phase: "cold", repeat: 1, wall: 1})},
		[]Run{a(shape{setting: "4", phase: "warm", repeat: 1, wall: 1, cached: 1})})
	r.Limits = &Limits{h100, plausibility.Qwen25of7B}
	var markdown, terminal bytes.Buffer
	if err := WriteMarkdown(&markdown, r, phrase.English); err != nil {
		t.Fatal(err)
	}
	if err := WriteTerminal(&terminal, r, phrase.English); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| cold | 4 | plausible |", "| cold | 8 | impossible |", "| warm | 4 | cache-assisted |"} {
		if !strings.Contains(markdown.String(), want) {
			t.Errorf("lacks %q:\n%s", want, markdown.String())
		}
	}
	if !strings.Contains(terminal.String(), "Impossible on h100: cold 8.") {
		t.Error(terminal.String())
	}
}
