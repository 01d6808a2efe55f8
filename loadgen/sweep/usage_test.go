package sweep

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestARunTellsHowLateItsGoroutinesWere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // in whose time nobody is late
		u := watch()
		time.Sleep(time.Second)
		if _, w := u.since(); w == nil || w.Max != 0 || len(u.late) < 999 {
			t.Errorf("%+v of %d", w, len(u.late))
		}
	})
	u := watch()
	for start := time.Now(); time.Since(start) < 20*nap; time.Sleep(nap) {
	}
	if cpu, w := u.since(); w == nil || w.P50 > w.P99 || w.P99 > w.Max || cpu != nil && *cpu > 10 {
		t.Errorf("%v, %+v", cpu, w)
	}
}
