package sweep

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"paceline/loadgen/target"
)

// open is an open loop whose other settings are usual.
func open(process Process, rate float64) Arrival {
	return Arrival{
		Process: process, Rate: rate, TraceSpeed: 1,
		MaxOutstanding: DefaultMaxOutstanding, WhenFull: Drop, LateAfter: DefaultLateAfter,
	}
}

func TestAConstantRateHasEqualDistances(t *testing.T) {
	for i, at := range open(Constant, 20).times(5, 1) {
		if want := time.Duration(i) * 50 * time.Millisecond; at != want {
			t.Errorf("arrival %d at %v, want %v", i, at, want)
		}
	}
}

func TestPoissonDistancesHaveTheMeanAndTheSpreadOfAnExponential(t *testing.T) {
	const n, rate = 200_000, 50.0
	times := open(Poisson, rate).times(n, 3)
	var sum, squares float64
	for i := 1; i < n; i++ {
		d := (times[i] - times[i-1]).Seconds()
		sum, squares = sum+d, squares+d*d
	}
	mean := sum / (n - 1)
	deviation := math.Sqrt(squares/(n-1) - mean*mean)
	if math.Abs(mean*rate-1) > 0.01 || math.Abs(deviation*rate-1) > 0.01 {
		t.Errorf("mean %v and deviation %v, both ought to be %v", mean, deviation, 1/rate)
	}
}

func TestArrivalsGrowAndASeedRepeatsThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := open(rapid.SampledFrom([]Process{Constant, Poisson}).Draw(t, "process"), rapid.Float64Range(0.01, 1e5).Draw(t, "rate"))
		n, seed := rapid.IntRange(0, 300).Draw(t, "n"), rapid.Uint64().Draw(t, "seed")
		times, again := a.times(n, seed), a.times(n, seed)
		for i, at := range times {
			if at < 0 || i > 0 && at < times[i-1] || at != again[i] {
				t.Fatalf("arrival %d at %v after %v, and again %v", i, at, times[max(0, i-1)], again[i])
			}
		}
	})
}

func TestCopiesJoinTheFirstOfTheirGroup(t *testing.T) {
	const s = time.Second
	list := []target.Prompt{
		{ID: "a"},
		{ID: "a#2", Joins: true},
		{ID: "a, turn 2", Follows: true},
		{ID: "b"},
		{ID: "b#2", Joins: true},
	}
	got := open(Constant, 1).schedule(list, conversations(list), 1)
	want := []begin{{0, 0}, {1, 0}, {2, s}, {3, s}}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %v, want %v", got, want)
			break
		}
	}
}

func TestARecordedTraceIsReplayedAtItsSpeed(t *testing.T) {
	list := []target.Prompt{{At: 4 * time.Second}, {At: time.Second}}
	a := open(Recorded, 0)
	a.TraceSpeed = 2
	got := a.schedule(list, conversations(list), 1)
	if got[0] != (begin{1, time.Second / 2}) || got[1] != (begin{0, 2 * time.Second}) {
		t.Errorf("got %v", got)
	}
}

func TestWhatIsWrongWithAnArrivalIsNamedByItsFlag(t *testing.T) {
	for want, change := range map[string]func(*Arrival){
		"-rate":             func(a *Arrival) { a.Rate = 0 },
		"-rate: ":           func(a *Arrival) { a.Rate = math.NaN() },
		"-speed":            func(a *Arrival) { a.Process, a.TraceSpeed = Recorded, -1 },
		"-most-outstanding": func(a *Arrival) { a.MaxOutstanding = 0 },
		"-when-full":        func(a *Arrival) { a.WhenFull = "x" },
		"-warm-up":          func(a *Arrival) { a.WarmUp = -1 },
		"-warm-up: needs":   func(a *Arrival) { a.Process, a.WarmUp = Closed, 1 },
		"-late-after":       func(a *Arrival) { a.LateAfter = -1 },
	} {
		a := open(Poisson, 5)
		change(&a)
		if err := a.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("want %s, got %v", want, err)
		}
	}
	if err := open(Poisson, 5).Validate(); err != nil {
		t.Error(err)
	}
	if err := (Arrival{}).Validate(); err != nil {
		t.Error(err)
	}
}
