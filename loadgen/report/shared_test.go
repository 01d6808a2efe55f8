package report

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestSharedPrefixBytesHasKnownAnswers(t *testing.T) {
	for _, c := range []struct {
		prompts []Parts
		want    int64
	}{
		{nil, 0},
		{[]Parts{{"abc"}}, 0},
		{[]Parts{{"abc"}, {"ab", "d"}}, 2},
		{[]Parts{{"abc"}, {"", "xyz"}, {"", "a", "bc"}}, 3},
		{[]Parts{{"system one"}, {"system ", "two"}, {"sys", "tem ", "three"}}, 7 + 8}, // "system " and "system t"
	} {
		if got := SharedPrefixBytes(c.prompts); got != c.want {
			t.Errorf("%q: %d, want %d", c.prompts, got, c.want)
		}
	}
}

// TestSharedPrefixBytesIsWhatAPerfectCacheServes plays the prompts, one after
// the other, against a cache that forgets nothing.
func TestSharedPrefixBytesIsWhatAPerfectCacheServes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.StringOfN(rapid.RuneFrom([]rune("ab")), 0, 4, -1)
		prompts := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Parts {
			return Parts{part.Draw(t, "head"), part.Draw(t, "text"), part.Draw(t, "tail")}
		}), 0, 12).Draw(t, "prompts")
		var served int64
		for i, p := range prompts {
			maxShared := 0
			for _, before := range prompts[:i] {
				n := 0
				for a, b := strings.Join(before[:], ""), strings.Join(p[:], ""); n < min(len(a), len(b)) && a[n] == b[n]; {
					n++
				}
				maxShared = max(maxShared, n)
			}
			served += int64(maxShared)
		}
		if got := SharedPrefixBytes(prompts); got != served {
			t.Fatalf("got %d, a perfect cache serves %d", got, served)
		}
	})
}
