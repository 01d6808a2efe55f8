package command

import (
	"testing"
	"time"
)

func TestTheLineIsCutToTheTerminal(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{
		{"run 1/36  16 cold", 80, "run 1/36  16 cold"}, {"run 1/36", 5, "run "}, {"12345", 5, "1234"}, {"µµµµµµ", 4, "µµµ"},
		{"run", 0, "run"}, {"run", 1, "run"},
	} {
		if got := cut(c.text, c.width); got != c.want {
			t.Errorf("%q in %d columns: %q, want %q", c.text, c.width, got, c.want)
		}
	}
}

func TestTheTimeLeftIsThatOfTheWholeSweep(t *testing.T) {
	for _, c := range []struct {
		elapsed      time.Duration
		done, toCome float64
		want         string
	}{
		{10 * time.Second, 2.5, 5, "20s"}, {time.Minute, 1, 7.4, "7m"}, {time.Minute, 1, 8, "8m"},
		{time.Hour, 1, 9.2, "9h10m"}, {time.Second, 1, 0, "0s"}, {time.Second, 1, -0.5, "0s"},
	} {
		if got := timeLeft(c.elapsed, c.done, c.toCome); got != c.want {
			t.Errorf("%v for %v, %v to come: %s, want %s", c.elapsed, c.done, c.toCome, got, c.want)
		}
	}
}
