package sim

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestRadixAgreesWithAPlainList compares the tree with a simple model: a list of everything
// inserted, and after evictions of what the tree still holds.
func TestRadixAgreesWithAPlainList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		capacity := rapid.SampledFrom([]int{20, 60, 1 << 20}).Draw(t, "capacity")
		r := newRadix(capacity)
		inserted := map[string][][]int32{}
		held := map[*node][]int32{}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			space := rapid.SampledFrom([]string{"", "salt"}).Draw(t, "space")
			p := rapid.SliceOfN(rapid.Int32Range(0, 2), 1, 15).Draw(t, "prompt")
			kept := pathsOf(r.root(space))
			got, end := r.match(space, p)
			if want := maxPrefix(kept, p); got != want {
				t.Fatalf("matched %d of %v, the tree holds %d", got, p, want)
			}
			if want := maxPrefix(inserted[space], p); got > want || r.evicted == 0 && got != want {
				t.Fatalf("matched %d of %v, %d were inserted", got, p, want)
			}
			if depth := len(pathTo(end)); depth != got {
				t.Fatalf("the node lies at %d, the match at %d", depth, got)
			}
			r.hold(end)
			before, evicted := r.size, r.evicted
			roomy := r.makeRoom(capacity - (len(p) - got))
			if gone := int(r.evicted - evicted); before-gone != r.size {
				t.Fatalf("%d tokens less %d evicted are %d", before, gone, r.size)
			}
			if roomy {
				n := r.insert(space, p)
				inserted[space] = append(inserted[space], p)
				if held[n] == nil && len(held) < 2 && rapid.Bool().Draw(t, "hold") {
					r.hold(n)
					held[n] = p
				}
			}
			r.release(end)
			if size := sizeOf(r); size != r.size || size > capacity {
				t.Fatalf("%d tokens in the tree, %d booked, capacity %d", size, r.size, capacity)
			}
			for n, p := range held {
				if !slices.Equal(pathTo(n), p) {
					t.Fatalf("held %v has become %v", p, pathTo(n))
				}
			}
		}
		for n := range held {
			r.release(n)
		}
		if !r.makeRoom(0) || r.size != 0 || sizeOf(r) != 0 {
			t.Fatalf("%d tokens can't be evicted", r.size)
		}
	})
}

func TestLeastRecentlyUsedLeavesGoFirst(t *testing.T) {
	r := newRadix(100)
	r.insert("", []int32{1, 2, 3})
	r.insert("", []int32{1, 2, 4})
	r.insert("salt", []int32{5, 6})
	r.match("", []int32{1, 2, 3})
	r.makeRoom(5)
	for _, c := range []struct {
		space  string
		tokens []int32
		want   int
	}{{"", []int32{1, 2, 3}, 3}, {"", []int32{1, 2, 4}, 2}, {"salt", []int32{5, 6}, 2}} {
		if got, _ := r.match(c.space, c.tokens); got != c.want {
			t.Errorf("%q %v: %d are left, want %d", c.space, c.tokens, got, c.want)
		}
	}
}

func TestNothingIsEvictedForAPromptThatHasNoRoom(t *testing.T) {
	r := newRadix(100)
	held := r.insert("", []int32{1, 2, 3})
	r.insert("", []int32{4, 5})
	r.hold(held)
	if r.makeRoom(2) || r.size != 5 {
		t.Errorf("%d tokens are left, want all 5", r.size)
	}
	if !r.makeRoom(3) || r.size != 3 {
		t.Errorf("%d tokens are left, want what is held", r.size)
	}
	r.release(held)
}

func maxPrefix(of [][]int32, p []int32) int {
	longest := 0
	for _, q := range of {
		longest = max(longest, commonPrefix(p, q))
	}
	return longest
}

// pathsOf returns the tokens from a root to each of its leaves.
func pathsOf(n *node) [][]int32 {
	if len(n.children) == 0 {
		return [][]int32{pathTo(n)}
	}
	var paths [][]int32
	for _, c := range n.children {
		paths = append(paths, pathsOf(c)...)
	}
	return paths
}

func pathTo(n *node) []int32 {
	if n == nil {
		return nil
	}
	return append(pathTo(n.parent), n.tokens...)
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
