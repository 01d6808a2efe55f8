package sim

import (
	"testing"

	"pgregory.net/rapid"
)

// TestRadixAgreesWithAPlainList holds the tree against the plainest model: a
// list of everything inserted. Without eviction the match is the longest common
// prefix; with it, the size stays within the capacity and a match is never
// longer.
func TestRadixAgreesWithAPlainList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		capacity := rapid.SampledFrom([]int{20, 60, 1 << 20}).Draw(t, "capacity")
		r := newRadix(capacity)
		var inserted [][]int32
		token := rapid.Int32Range(0, 2)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			p := rapid.SliceOfN(token, 1, 15).Draw(t, "prompt")
			longest := 0
			for _, q := range inserted {
				longest = max(longest, commonPrefix(p, q))
			}
			got, end := r.match("", p)
			if got > longest || (capacity == 1<<20 && got != longest) {
				t.Fatalf("matched %d of %v, want %d", got, p, longest)
			}
			depth := 0
			for n := end; n != nil; n = n.parent {
				depth += len(n.tokens)
			}
			if depth != got {
				t.Fatalf("the node lies at %d, the match at %d", depth, got)
			}
			r.makeRoom(capacity - len(p))
			r.insert("", p)
			inserted = append(inserted, p)
			if size := sizeOf(r); size != r.size || size > capacity {
				t.Fatalf("%d tokens in the tree, %d booked, capacity %d", size, r.size, capacity)
			}
		}
	})
}

func sizeOf(r *radix) int {
	sum := 0
	var walk func(n *node)
	walk = func(n *node) {
		sum += len(n.tokens)
		for _, c := range n.children {
			walk(c)
		}
	}
	for _, root := range r.roots {
		walk(root)
	}
	return sum
}

func TestHeldTokensAreNotEvicted(t *testing.T) {
	r := newRadix(10)
	n := r.insert("", []int32{1, 2, 3, 4})
	r.hold(n)
	r.insert("", []int32{5, 6, 7})
	if r.makeRoom(2) {
		t.Error("made room out of held tokens")
	}
	if got, _ := r.match("", []int32{1, 2, 3, 4}); got != 4 {
		t.Errorf("%d held tokens are left", got)
	}
	r.match("", []int32{1, 2}) // splits the held edge
	r.release(n)
	if !r.makeRoom(0) || sizeOf(r) != 0 {
		t.Errorf("%d tokens are left after release", sizeOf(r))
	}
}
