package telemetry

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAMessageThatRepeatsIsLoggedAFewTimesAndThenCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(newQuiet(slog.NewTextHandler(&out, nil)))
		for range 100 {
			log.With("batch", 7).Warn("a call failed", "error", "reset")
		}
		log.Info("another")
		if got := strings.Count(out.String(), "a call failed"); got != quietBurst || !strings.Contains(out.String(), "another") {
			t.Errorf("%d times:\n%s", got, &out)
		}
		time.Sleep(quietWindow)
		out.Reset()
		log.WithGroup("g").Warn("a call failed", "error", "reset")
		log.Warn("a call failed")
		if got := strings.Count(out.String(), "left_out_before=95"); got != 1 || strings.Count(out.String(), "a call failed") != 2 {
			t.Errorf("\n%s", &out)
		}
	})
}
