package report

import (
	"testing"

	"pgregory.net/rapid"
)

func TestSharedPrefixBytesHasKnownAnswers(t *testing.T) {
	for _, c := range []struct {
		prompts []string
		want    int64
	}{
		{nil, 0},
		{[]string{"abc"}, 0},
		{[]string{"abc", "abd"}, 2},
		{[]string{"abc", "xyz", "abc"}, 3},
		{[]string{"system one", "system two", "system three"}, 7 + 8}, // "system " and "system t"
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
		prompts := rapid.SliceOfN(rapid.StringOfN(rapid.RuneFrom([]rune("ab")), 0, 8, -1), 0, 12).Draw(t, "prompts")
		var served int64
		for i, p := range prompts {
			maxShared := 0
			for _, before := range prompts[:i] {
				maxShared = max(maxShared, commonStart(before, p))
			}
			served += int64(maxShared)
		}
		if got := SharedPrefixBytes(prompts); got != served {
			t.Fatalf("got %d, a perfect cache serves %d", got, served)
		}
	})
}
