package stats

import "math"

// LeastSquares returns the numbers of at least 0 whose weighted sums of each row of x are
// nearest to y, with errors relative to y. All y must be above 0 and all rows as long as
// the first.
//
// It goes down along one number after the other. For non-negative least squares that
// always ends at the best, and few and short rows make it fast enough.
func LeastSquares(x [][]float64, y []float64) []float64 {
	if len(x) == 0 {
		return nil
	}
	a := make([]float64, len(x[0]))
	left := make([]float64, len(y)) // what a does not explain of y, relative to y
	for i := range left {
		left[i] = 1
	}
	const rounds, enough = 200_000, 1e-12
	for moved, round := 1.0, 0; moved >= enough && round < rounds; round++ {
		moved = 0
		for j := range a {
			gain, size := 0.0, 0.0
			for i, row := range x {
				gain, size = gain+left[i]*row[j]/y[i], size+row[j]/y[i]*row[j]/y[i]
			}
			if size == 0 {
				continue
			}
			step := max(-a[j], gain/size)
			a[j], moved = a[j]+step, max(moved, math.Abs(step)*math.Sqrt(size))
			for i, row := range x {
				left[i] -= step * row[j] / y[i]
			}
		}
	}
	return a
}

// RelativeErrors returns how far the weighted sums are from y, relative to it.
func RelativeErrors(x [][]float64, y, a []float64) []float64 {
	errs := make([]float64, len(y))
	for i, row := range x {
		sum := 0.0
		for j, v := range row {
			sum += v * a[j]
		}
		errs[i] = math.Abs(sum-y[i]) / y[i]
	}
	return errs
}
