package batcher

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// search isolates the bad items among n and counts the calls it takes.
func search(n int, bad func(int) bool) (blamed []int, calls int, answered map[int]int) {
	answered = map[int]int{}
	items := make([]int, n)
	for i := range items {
		items[i] = i
	}
	try := func(group []int) Outcome {
		calls++
		if slices.ContainsFunc(group, bad) {
			return Bad
		}
		for _, i := range group {
			answered[i]++
		}
		return Good
	}
	Isolate(items, try, func(i int) { blamed = append(blamed, i) })
	return blamed, calls, answered
}

func TestIsolateBlamesExactlyTheBadAndAnswersEveryOtherOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 40).Draw(t, "items")
		bad := rapid.SliceOfNDistinct(rapid.IntRange(0, n-1), 1, n, rapid.ID[int]).Draw(t, "bad")
		blamed, calls, answered := search(n, func(i int) bool { return slices.Contains(bad, i) })
		slices.Sort(blamed)
		slices.Sort(bad)
		if !slices.Equal(blamed, bad) {
			t.Fatalf("blamed %v, bad are %v", blamed, bad)
		}
		for i := range n {
			if want := 1; !slices.Contains(bad, i) && answered[i] != want {
				t.Fatalf("item %d was answered %d times", i, answered[i])
			}
		}
		if calls > 3*n {
			t.Fatalf("%d calls for %d items", calls, n)
		}
	})
}

// TestCallsToIsolateBadItems counts the calls to isolate bad items in a list of 16, over all
// their positions or many random ones.
func TestCallsToIsolateBadItems(t *testing.T) {
	for _, c := range []struct{ bad, limit int }{{1, 6}, {2, 12}, {8, 26}} {
		sum, worst := 0, 0
		const rounds = 2000
		for range rounds {
			places := rand.Perm(16)[:c.bad]
			_, calls, _ := search(16, func(i int) bool { return slices.Contains(places, i) })
			sum, worst = sum+calls, max(worst, calls)
		}
		mean := float64(sum) / rounds
		t.Logf("%d bad of 16: %.1f extra calls on average, %d at worst", c.bad, mean, worst)
		if mean > float64(c.limit) {
			t.Errorf("%d bad of 16: %.1f calls on average, want at most %d", c.bad, mean, c.limit)
		}
	}
}
