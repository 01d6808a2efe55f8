package number

import (
	"math"
	"testing"
)

func TestNumbersHaveSensibleDigits(t *testing.T) {
	cases := []struct{ got, want string }{
		{Significant(0.0291666, 3), "0.0292"},
		{Significant(14.594, 4), "14.59"},
		{Significant(123456, 3), "123456"},
		{Significant(99.996, 4), "100.00"},
		{Significant(-0.5, 3), "-0.500"},
		{Significant(1e-12, 3), "0"},
		{Significant(-1e-12, 3), "0"},
		{Significant(math.NaN(), 3), "0"},
		{Thousands(0), "0"},
		{Thousands(999), "999"},
		{Thousands(1_234_567), "1,234,567"},
		{Thousands(-123), "-123"},
		{Thousands(-1234), "-1,234"},
		{Thousands(uint64(math.MaxUint64)), "18,446,744,073,709,551,615"},
	}
	for _, c := range cases {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
