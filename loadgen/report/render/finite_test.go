package render

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"paceline/loadgen/report"
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
