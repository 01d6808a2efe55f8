// Package number formats numbers for people, alike in every report and verdict.
package number

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Significant formats v with at least n significant digits and no exponent. It keeps all digits
// before the point and at most nine after it.
func Significant(v float64, n int) string {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return "0"
	}
	before := int(math.Floor(math.Log10(math.Abs(v)))) + 1
	text := strconv.FormatFloat(v, 'f', min(9, max(0, n-before)), 64)
	if strings.Trim(text, "-0.") == "" {
		return "0"
	}
	return text
}

// Thousands groups digits: 1,234,567.
func Thousands[T int | int64 | uint64](n T) string {
	text := fmt.Sprint(n)
	first := 0
	if n < 0 {
		first = 1
	}
	for i := len(text) - 3; i > first; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
