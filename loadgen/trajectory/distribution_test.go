package trajectory

import (
	"math"
	"testing"
)

func TestExp2AgreesWithTheLibrary(t *testing.T) {
	for x := -20 * one; x <= 20*one; x += 7919 {
		got, want := exp2(int64(x)), math.Exp2(float64(x)/one)
		if math.Abs(got-want) > 1e-14*want {
			t.Fatalf("2^(%d/65536): %v, want %v", x, got, want)
		}
	}
}

func TestNormalHasItsMoments(t *testing.T) {
	s := newStream(1, "normal", "test")
	const n = 200_000
	var sum, squares, above float64
	for range n {
		z := float64(s.normal()) / one
		sum += z
		squares += z * z
		if z > 1.645 {
			above++
		}
	}
	near(t, "mean", sum/n, 0, 0.01)
	near(t, "variance", squares/n, 1, 0.01)
	near(t, "share above the 95th percentile", above/n, 0.05, 0.002)
}

func TestDistributionsHaveTheReferenceMeans(t *testing.T) {
	s := newStream(1, "distributions", "test")
	const n = 100_000
	for name, c := range map[string]struct {
		d    logNormal
		want float64
	}{
		"problem tokens":     {problemTokens, 465},
		"thought tokens":     {thoughtTokens, 108},
		"action tokens":      {actionTokens, 105},
		"observation tokens": {observationTokens, 316},
	} {
		sum := 0.0
		for range n {
			v := c.d.draw(s)
			if v < c.d.low || v > c.d.high {
				t.Fatalf("%s: %v is outside [%v, %v]", name, v, c.d.low, c.d.high)
			}
			sum += v
		}
		near(t, name, sum/n, c.want, 0.03*c.want)
	}
}

func TestExecutionTimesHaveTheReferenceMean(t *testing.T) {
	s := newStream(1, "execution", "test")
	const n = 1_000_000
	sum := 0.0
	for range n {
		kind, seconds := execution(s)
		if seconds <= 0 || seconds > maxExecSeconds {
			t.Fatalf("work %d took %v s", kind, seconds)
		}
		sum += seconds
	}
	near(t, "seconds a step", sum/n, 0.443, 0.01)
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.Abs(got-want) > tolerance {
		t.Errorf("%s: %v, want %v ± %v", what, got, want, tolerance)
	}
}
