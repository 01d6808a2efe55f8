package report

import "slices"

// SharedPrefixBytes is how many bytes of the prompts a prefix cache that begins
// empty and forgets nothing could serve at best: each prompt's longest start in
// common with any prompt sent before it, summed. The sum is the same for every
// order of sending. It is what the cached share of a cold run is held against.
func SharedPrefixBytes(prompts []string) int64 {
	// In sorted order, each prompt shares most with the one just before it.
	sorted := slices.Sorted(slices.Values(prompts))
	var shared int64
	for i := 1; i < len(sorted); i++ {
		shared += int64(commonStart(sorted[i-1], sorted[i]))
	}
	return shared
}

func commonStart(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
