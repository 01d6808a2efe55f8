package report

import (
	"cmp"
	"slices"
)

// Parts is a prompt in parts, which many prompts may share.
type Parts [3]string

// SharedPrefixBytes returns how many bytes of the prompts an ideal prefix cache could serve, one that
// starts empty and forgets nothing. It sums each prompt's longest common prefix with any earlier
// prompt. The order of the prompts does not matter. The cached share of a cold run is compared with it.
func SharedPrefixBytes(prompts []Parts) int64 {
	// In sorted order, each prompt shares the longest prefix with the one just before it.
	sorted := slices.SortedFunc(slices.Values(prompts), func(a, b Parts) int {
		n := commonStart(a, b)
		return cmp.Compare(a.at(n), b.at(n))
	})
	var shared int64
	for i := 1; i < len(sorted); i++ {
		shared += int64(commonStart(sorted[i-1], sorted[i]))
	}
	return shared
}

// at returns the byte at an offset; -1 at the end.
func (p Parts) at(n int) int {
	for _, part := range p {
		if n < len(part) {
			return int(part[n])
		}
		n -= len(part)
	}
	return -1
}

// commonStart compares whole pieces, so that a shared one costs next to nothing.
func commonStart(a, b Parts) (n int) {
	for i, j := 0, 0; i < len(a) && j < len(b); {
		k := min(len(a[i]), len(b[j]))
		if a[i][:k] != b[j][:k] {
			for a[i][0] == b[j][0] {
				a[i], b[j], n = a[i][1:], b[j][1:], n+1
			}
			return n
		}
		a[i], b[j], n = a[i][k:], b[j][k:], n+k
		if a[i] == "" {
			i++
		}
		if j < len(b) && b[j] == "" {
			j++
		}
	}
	return n
}
