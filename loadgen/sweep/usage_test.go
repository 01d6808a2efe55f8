package sweep

import (
	"math"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"
)

func TestWaitsAreThoseBetweenTheTwoReadings(t *testing.T) {
	edges := []float64{math.Inf(-1), 0, 1, 2, math.Inf(1)}
	before := usage{waits: &metrics.Float64Histogram{Counts: []uint64{0, 90, 10, 5}, Buckets: edges}}
	after := usage{waits: &metrics.Float64Histogram{Counts: []uint64{0, 99, 11, 5}, Buckets: edges}}
	for share, want := range map[float64]float64{0.5: 1, 0.9: 1, 0.99: 2, 1: 2} { // nine of the first bucket, one of the second
		if got, ok := after.wait(before, share); !ok || got != want {
			t.Errorf("%v: %v, %v; want %v", share, got, ok, want)
		}
	}
	after.waits.Counts[3]++
	if got, ok := after.wait(before, 1); !ok || got != 2 {
		t.Errorf("the last bucket has no upper edge: %v, %v", got, ok)
	}
	if _, ok := before.wait(before, 0.5); ok {
		t.Error("a wait where there was none")
	}
	if _, ok := (usage{}).wait(before, 0.5); ok {
		t.Error("a wait that the runtime did not tell")
	}
}

func TestARunTellsWhatItCostThisProcess(t *testing.T) {
	before := readUsage()
	for range 100 {
		runtime.Gosched()
	}
	after := readUsage()
	after.cpu = before.cpu + 1500*time.Millisecond
	cpu, w := after.since(before)
	if cpu == nil || *cpu != 1.5 {
		t.Errorf("%v", cpu)
	}
	if w != nil && (w.P50 > w.P99 || w.P99 > w.Max) {
		t.Errorf("%+v", w)
	}
	if runtime.GOOS == "linux" && before.cpu <= 0 {
		t.Error("no CPU time")
	}
}
