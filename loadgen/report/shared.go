package report

import "slices"

// SharedPrefixBytes returns how many bytes of the prompts an ideal prefix cache could serve, one that
// starts empty and forgets nothing. It sums each prompt's longest common prefix with any earlier
// prompt. The order of the prompts does not matter. The cached share of a cold run is compared with it.
func SharedPrefixBytes(prompts []string) int64 {
	// In sorted order, each prompt shares the longest prefix with the one just before it.
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
