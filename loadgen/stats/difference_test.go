package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestTheTailsOfTAndFHaveKnownValues(t *testing.T) {
	for _, c := range []struct{ got, want float64 }{
		{tTail(2.776445, 4), 0.05}, {tTail(12.7062, 1), 0.05}, {tTail(0, 7), 1}, {tTail(2.0639, 24), 0.05},
		{fTail(2.50819, 6, 24), 0.05}, {fTail(6.60789, 1, 5), 0.05}, {fTail(0, 2, 8), 1},
		{tTail(math.Inf(1), 3), 0}, {tTail(math.NaN(), 3), 1},
	} {
		if math.Abs(c.got-c.want) > 1e-5 {
			t.Errorf("%v, want %v", c.got, c.want)
		}
	}
}

// rounds makes samples of three or more rounds.
func rounds(values ...[]float64) (samples []map[int]float64) {
	for _, of := range values {
		s := map[int]float64{}
		for r, v := range of {
			s[r] = v
		}
		samples = append(samples, s)
	}
	return samples
}

func TestTwoSamplesInRoundsAreComparedByAPairedTTest(t *testing.T) {
	// Logarithms differ by 0.1, 0.2 and 0.3: t is 0.2/(0.1/√3), of 2 degrees of freedom.
	p := DifferencesInRounds(rounds([]float64{math.Exp(1.1), math.Exp(2.2), math.Exp(0.3)}, []float64{math.Exp(1), math.Exp(2), 1}))
	want := Difference{By: 0.2, P: tTail(2*math.Sqrt(3), 2)}
	if got := p[0][1]; math.Abs(got.By-want.By) > 1e-12 || math.Abs(got.P-want.P) > 1e-9 || p[1][0].By != -got.By {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestWhatAllRoundsShareCancelsOut(t *testing.T) {
	p := DifferencesInRounds(rounds([]float64{11, 12.1, 14.31, 17.6, 22}, []float64{10, 11, 13, 16, 20}))
	if p[0][1].P > 0.001 {
		t.Errorf("a tenth in every round: %+v", p[0][1])
	}
}

func TestFewerThanThreeRoundsInCommonCompareNothing(t *testing.T) {
	samples := rounds([]float64{1, 2, 3}, []float64{4, 5})
	samples = append(samples, map[int]float64{7: 1, 8: 2, 9: 3})
	for i, row := range DifferencesInRounds(samples) {
		for j, d := range row {
			if d.P != 2 {
				t.Errorf("%d and %d: %+v", i, j, d)
			}
		}
	}
	if d := Differences([][]float64{{1, 2}, {1, 2, 3}}, [][]float64{{1, 2, 3}, {3, 4, 5}}); d[0].P != 2 || d[1].P > 1 {
		t.Errorf("%+v", d)
	}
}

func TestSamplesThatDoNotVaryAreEqualOrDiffer(t *testing.T) {
	p := DifferencesInRounds(rounds([]float64{2, 2, 2}, []float64{2, 2, 2}, []float64{3, 3, 3}))
	if p[0][1].P != 1 || p[0][2].P != 0 {
		t.Errorf("%+v", p)
	}
}

func TestOneDisturbedValueDoesNotHideTheOtherDifferences(t *testing.T) {
	samples := rounds([]float64{100, 101, 100.5}, []float64{110, 111.5, 110}, []float64{120.5, 121, 120},
		[]float64{120, 121.3, 121}, []float64{120, 60, 121})
	p := DifferencesInRounds(samples)
	if p[0][1].P > 0.01 || p[1][2].P > 0.01 || p[0][4].P < 0.05 {
		t.Errorf("%+v", p)
	}
}

func TestDifferencesAreSymmetricAndKnowNoUnit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.SliceOfN(rapid.Float64Range(1, 1000), 3, 6), 2, 5).Draw(t, "samples")
		p := DifferencesInRounds(rounds(values...))
		scaled := make([][]float64, len(values))
		for i, of := range values {
			for _, v := range of {
				scaled[i] = append(scaled[i], 2*v)
			}
		}
		q := DifferencesInRounds(rounds(scaled...))
		for i := range p {
			for j := range p {
				if a, b := p[i][j].P, q[i][j].P; a != p[j][i].P || a < 0 || a > 2 || math.IsNaN(a) || i != j && math.Abs(a-b) > 1e-6 {
					t.Fatalf("%d and %d: %v and %v", i, j, a, b)
				}
			}
		}
	})
}

// falsely returns how often a test finds a difference at 5 % among samples that do not differ.
func falsely(find func(*rand.Rand) bool) float64 {
	rng, found := rand.New(rand.NewPCG(1, 2)), 0
	const times = 2000
	for range times {
		if find(rng) {
			found++
		}
	}
	return float64(found) / times
}

// The noise is 3 % within a round and 3 % from round to round. One sample may vary three times as much.
func TestAmongEqualSamplesOneCaseIn20FindsADifference(t *testing.T) {
	noise := func(rng *rand.Rand, share float64) float64 { return math.Exp(share * rng.NormFloat64()) }
	some := func(all []Difference) bool {
		return slices.ContainsFunc(all, func(d Difference) bool { return d.P <= 0.05 })
	}
	for _, repeats := range []int{3, 5, 10} {
		for _, first := range []float64{0.03, 0.09} {
			inRounds := falsely(func(rng *rand.Rand) bool {
				samples := rounds(make([][]float64, 7)...)
				for r := range repeats {
					round := noise(rng, 0.03)
					for i := range samples {
						share := 0.03
						if i == 0 {
							share = first
						}
						samples[i][r] = round * noise(rng, share)
					}
				}
				return slices.ContainsFunc(DifferencesInRounds(samples), some)
			})
			apart := falsely(func(rng *rand.Rand) bool {
				var before, after [][]float64
				for range 14 {
					a, b := make([]float64, repeats), make([]float64, repeats)
					for i := range a {
						a[i], b[i] = noise(rng, first), noise(rng, first)
					}
					before, after = append(before, a), append(after, b)
				}
				return some(Differences(before, after))
			})
			t.Logf("%d repeats, the first varies by %v: %.3f in rounds, %.3f of two sweeps", repeats, first, inRounds, apart)
			if limit := 0.06 + (first-0.03)/1.5; inRounds > limit || apart > 0.06 {
				t.Errorf("a difference is found in %v and %v, want at most %v", inRounds, apart, limit)
			}
		}
	}
}
