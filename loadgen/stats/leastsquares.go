package stats

import (
	"paceline/batcher/tune"
)

// LeastSquares returns the non-negative coefficients whose weighted sums of the rows of x are nearest
// to y, by relative errors. All y must be above 0, and all rows must have the same length.
func LeastSquares(x [][]float64, y []float64) []float64 {
	if len(x) == 0 {
		return nil
	}
	n := len(x[0])
	a, xx, xy := make([]float64, n), make([][]float64, n), make([]float64, n)
	for i := range n {
		xx[i] = make([]float64, n)
		for k, row := range x {
			for j := range n {
				xx[i][j] += row[i] / y[k] * row[j] / y[k]
			}
			xy[i] += row[i] / y[k]
		}
	}
	const rounds = 200_000
	tune.NonNegative(a, xx, xy, rounds)
	return a
}
