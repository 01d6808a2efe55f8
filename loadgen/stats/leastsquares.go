package stats

import "math"

// LeastSquares is the numbers of at least 0 whose weighted sums of each row of x
// are nearest to y, errors taken relative to y. All y must be above 0 and all
// rows as long as the first.
//
// It goes down along one number after the other, which for non-negative least
// squares always ends at the best: few and short rows make that fast enough.
func LeastSquares(x [][]float64, y []float64) []float64 {
	if len(x) == 0 {
		return nil
	}
	a := make([]float64, len(x[0]))
	left := make([]float64, len(y)) // 1 minus what a explains of y, relative
	for i := range left {
		left[i] = 1
	}
	const rounds, enough = 200_000, 1e-12
	for range rounds {
		moved := 0.0
		for j := range a {
			gain, size := 0.0, 0.0
			for i, row := range x {
				gain += left[i] * row[j] / y[i]
				size += row[j] / y[i] * row[j] / y[i]
			}
			if size == 0 {
				continue
			}
			step := math.Max(-a[j], gain/size)
			a[j] += step
			moved = math.Max(moved, math.Abs(step)*math.Sqrt(size))
			for i, row := range x {
				left[i] -= step * row[j] / y[i]
			}
		}
		if moved < enough {
			break
		}
	}
	return a
}

// RelativeErrors is how far the weighted sums are from y, relative to it.
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
