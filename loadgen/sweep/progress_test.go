package sweep

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestLiveThroughputIsInSecondsOfTheReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &RunProgress{Started: time.Now(), Speed: 3}
		for range 60 {
			r.ended(nil)
		}
		r.ended(errors.New("failed"))
		time.Sleep(time.Second)
		if got := r.Throughput(); got != 20 || r.Failed() != 1 {
			t.Errorf("%v/s and %d failed, want 20/s of simulated seconds and 1", got, r.Failed())
		}
	})
}
