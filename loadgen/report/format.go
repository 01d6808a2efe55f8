package report

import (
	"fmt"
	"iter"
	"maps"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// rate writes a throughput with three or more significant digits.
func rate(v float64) string { return significant(v, 3) }

// short writes a number of seconds in few digits.
func short(v float64) string { return significant(v, 3) }

// significant writes v with at least n significant digits and no exponent.
func significant(v float64, n int) string {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return "0"
	}
	before := int(math.Floor(math.Log10(math.Abs(v)))) + 1
	return strconv.FormatFloat(v, 'f', min(9, max(0, n-before)), 64)
}

// percent writes a change with its sign: +12.3 %.
func percent(share float64) string {
	if math.IsNaN(share) || math.IsInf(share, 0) {
		return "no figure"
	}
	return fmt.Sprintf("%+.1f %%", 100*share)
}

func upperFirst(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}

func sign(v float64) int {
	switch {
	case v < 0:
		return -1
	case v > 0:
		return 1
	}
	return 0
}

func keys(m map[string]int) iter.Seq[string] { return maps.Keys(m) }

// thousands groups digits: 1,234,567.
func thousands[T int | int64 | uint64](n T) string {
	digits := fmt.Sprint(n)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}
