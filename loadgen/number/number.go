// Package number writes numbers for people, the same in every report and verdict.
package number

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Significant writes v with at least n significant digits and no exponent; all
// digits before the point are kept, and at most nine after it.
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
	digits, negative := strings.CutPrefix(fmt.Sprint(n), "-")
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	if negative {
		return "-" + b.String()
	}
	return b.String()
}
