package sweep

import (
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// script puts an nvidia-smi on the PATH that writes text and then waits to be killed.
func script(t *testing.T, text string) {
	t.Helper()
	dir := t.TempDir()
	said := filepath.Join(dir, "said")
	body := "#!/bin/sh\nprintf '%s\\n' \"$*\" > " + said + ".args\ncat " + said + "\ntouch " + said + ".done\nexec sleep 60\n"
	if err := os.WriteFile(said, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "nvidia-smi"), []byte(body), 0o700); err != nil { //nolint:gosec // a script
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("SAID", said)
}

// sampled samples until the script has written everything.
func sampled(t *testing.T) (watts, joulesOf, used float64, throttled map[string]float64, count int, ok bool) {
	t.Helper()
	stop := FindCards().watch(t.Context(), slog.New(slog.DiscardHandler))
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(os.Getenv("SAID") + ".done"); err == nil {
			break
		}
	}
	c := stop()
	if c == nil {
		return 0, 0, 0, nil, 0, false
	}
	return c.Watts, c.ClockMHz, c.Used, c.Throttled, c.Count, true
}

func TestTheCardsThatAreUsedAreSummedUp(t *testing.T) {
	script(t, "0, 300.00, 1900, 100, 0x0000000000000004\n1, 70.00, 345, 0, 0x0000000000000001\n"+
		"0, 500.00, 1700, 50, 0x0000000000000000\n1, 70.00, 345, 0, 0x0000000000000001\n0, 90")
	watts, clock, used, throttled, count, ok := sampled(t)
	if !ok || count != 1 || watts != 400 || clock != 1800 || used != 0.75 || len(throttled) != 1 || throttled["power cap"] != 0.5 {
		t.Errorf("%v W, %v MHz, %v used, %v, %d cards", watts, clock, used, throttled, count)
	}
	args, err := os.ReadFile(os.Getenv("SAID") + ".args")
	if want := "--query-gpu=" + query + " --format=csv,noheader,nounits -lms 200\n"; err != nil || string(args) != want {
		t.Errorf("%v: %q", err, args)
	}
}

func TestSeveralCardsAddTheirPower(t *testing.T) {
	script(t, "0, 300, 1900, 100, 0x0\n1, 100, 1900, 20, 0x60\n0, 300, 1900, 100, 0x0\n")
	watts, _, used, throttled, count, ok := sampled(t)
	if !ok || count != 2 || watts != 400 || math.Abs(used-2.2/3) > 1e-9 || throttled["heat (hardware)"] != 1./3 {
		t.Errorf("%v W, %v used, %v, %d cards", watts, used, throttled, count)
	}
}

func TestWhatNvidiaSMIDoesNotKnowIsNoFigure(t *testing.T) {
	for _, text := range []string{
		"", "0, [N/A], 1900, 100, 0x0\n", "0, 70, 345, 0, 0x1\n", "No devices were found\n", "0, 300, 1900, 100, [N/A]\n",
	} {
		script(t, text)
		if watts, _, _, _, _, ok := sampled(t); ok {
			t.Errorf("%q: %v W", text, watts)
		}
	}
	for text, want := range map[string]string{
		"0, [N/A], 1900, 100, 0x0\n": `power.draw: expected a number of at least 0, got " [N/A]"`, "0, 1\n": "got 2 fields",
		"0, 1, 2, -3, 0x0\n": "utilization.gpu: expected", "0, 1, 2, 3, Active\n": "clocks_throttle_reasons.active: expected bits",
	} {
		if _, err := readSamples(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	t.Setenv("PATH", t.TempDir())
	if FindCards().watch(t.Context(), slog.New(slog.DiscardHandler))() != nil {
		t.Error("there is a figure without nvidia-smi")
	}
}
