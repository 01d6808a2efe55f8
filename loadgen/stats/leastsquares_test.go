package stats

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestLeastSquaresFindsWhatTheNumbersWereMadeOf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(rapid.Float64Range(0, 2), 3, 3).Draw(t, "want")
		want[0] += 0.1
		var x [][]float64
		var y []float64
		for i := range 30 {
			row := []float64{1, float64(1 + i%5), float64(i * i % 17)}
			x = append(x, row)
			y = append(y, want[0]*row[0]+want[1]*row[1]+want[2]*row[2])
		}
		got := LeastSquares(x, y)
		for j := range want {
			if math.Abs(got[j]-want[j]) > 1e-3 {
				t.Fatalf("got %v, want %v", got, want)
			}
		}
	})
}

func TestLeastSquaresGivesNothingNegative(t *testing.T) {
	got := LeastSquares([][]float64{{1, 1}, {1, 2}, {1, 3}}, []float64{3, 2, 1})
	if got[0] < 0 || got[1] != 0 {
		t.Errorf("%v", got)
	}
}
