package upstream

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestLargeArrivalsTogetherAreReadAtTheirRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		arrivals := NewArrivals(func(int64) error { return nil })
		began := time.Now()
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				for range largeRate / Large {
					arrivals.New(0, nil).Pace(Large)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took < 2900*time.Millisecond || took > 3*time.Second {
			t.Errorf("three times the bytes of a second took %v", took)
		}
	})
}
