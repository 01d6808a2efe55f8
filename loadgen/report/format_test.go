package report

import (
	"math"
	"testing"

	"paceline/loadgen/number"
)

func TestNumbersHaveSensibleDigits(t *testing.T) {
	cases := []struct{ got, want string }{
		{number.Significant(0.0291666, 3), "0.0292"},
		{number.Significant(14.594, 4), "14.59"},
		{number.Significant(123456, 3), "123456"},
		{number.Significant(99.996, 4), "100.00"},
		{number.Significant(-0.5, 3), "-0.500"},
		{number.Significant(1e-12, 3), "0"},
		{number.Significant(-1e-12, 3), "0"},
		{number.Significant(math.NaN(), 3), "0"},
		{given(0.005), "0.005"},
		{given(5), "5"},
		{percent(108, 100).String(), "+8.0 %"},
		{percent(99.99, 100).String(), "+0.0 %"},
		{percent(1, 0).String(), "no figure"},
		{ratio(3, 2).String(), "1.50×"},
		{ratio(1, 0).String(), "no figure"},
		{number.Thousands(1_234_567), "1,234,567"},
		{number.Thousands(-123), "-123"},
		{number.Thousands(uint64(math.MaxUint64)), "18,446,744,073,709,551,615"},
	}
	for _, c := range cases {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
