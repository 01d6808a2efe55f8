package sim

import (
	"cmp"
	"slices"
)

// radix is the prefix cache: a radix tree over token ids for each space (cache
// salt and adapter), with a common capacity in tokens. Least recently used
// leaves go first; what a running request uses stays. Not safe for concurrent
// use.
type radix struct {
	capacity int
	size     int // tokens cached
	evicted  int64
	clock    int64 // counts uses
	roots    map[string]*node
}

// node holds the tokens between its parent and itself.
type node struct {
	parent   *node
	tokens   []int32
	children map[int32]*node // by their first token
	used     int64           // radix.clock at the last use
	holds    int             // running requests that use this node or one below
}

func newRadix(capacity int) *radix {
	return &radix{capacity: capacity, roots: map[string]*node{}}
}

func (r *radix) root(space string) *node {
	n := r.roots[space]
	if n == nil {
		n = &node{children: map[int32]*node{}}
		r.roots[space] = n
	}
	return n
}

// match returns how many leading tokens are cached, and the node at which they
// end.
func (r *radix) match(space string, tokens []int32) (int, *node) {
	r.clock++
	n, matched := r.root(space), 0
	for matched < len(tokens) {
		child := n.children[tokens[matched]]
		if child == nil {
			break
		}
		k := commonPrefix(child.tokens, tokens[matched:])
		if k < len(child.tokens) {
			child = split(child, k)
		}
		child.used = r.clock
		matched, n = matched+k, child
	}
	return matched, n
}

// insert caches tokens, as far as there is room, and returns the node at their
// end. Tokens that are cached already stay where they are.
func (r *radix) insert(space string, tokens []int32) *node {
	matched, n := r.match(space, tokens)
	rest := tokens[matched:]
	if len(rest) == 0 {
		return n
	}
	child := &node{parent: n, tokens: slices.Clone(rest), children: map[int32]*node{}, used: r.clock}
	n.children[rest[0]] = child
	r.size += len(rest)
	return child
}

// split cuts an edge after k of its tokens and returns the upper part.
func split(n *node, k int) *node {
	upper := &node{
		parent: n.parent, tokens: n.tokens[:k:k], children: map[int32]*node{n.tokens[k]: n},
		used: n.used, holds: n.holds,
	}
	n.parent.children[n.tokens[0]] = upper
	n.parent, n.tokens = upper, n.tokens[k:]
	return upper
}

// hold keeps a node and all above it from being evicted, until release.
func (r *radix) hold(n *node) {
	for ; n != nil; n = n.parent {
		n.holds++
	}
}

func (r *radix) release(n *node) {
	for ; n != nil; n = n.parent {
		n.holds--
	}
}

// makeRoom evicts until at most room tokens are cached. Where what is held stands
// in the way it evicts nothing and returns false.
func (r *radix) makeRoom(room int) bool {
	if r.size > room && r.held() > room {
		return false
	}
	for r.size > room {
		leaves := r.looseLeaves()
		if len(leaves) == 0 {
			return false
		}
		slices.SortFunc(leaves, func(a, b *node) int { return cmp.Compare(a.used, b.used) })
		for _, leaf := range leaves {
			if r.size <= room {
				break
			}
			delete(leaf.parent.children, leaf.tokens[0])
			r.size -= len(leaf.tokens)
			r.evicted += int64(len(leaf.tokens))
		}
	}
	return true
}

// held is the tokens that can't be evicted.
func (r *radix) held() int {
	sum := 0
	var walk func(n *node)
	walk = func(n *node) {
		if n.holds == 0 && n.parent != nil {
			return // nor is anything below it
		}
		sum += len(n.tokens)
		for _, child := range n.children {
			walk(child)
		}
	}
	for _, root := range r.roots {
		walk(root)
	}
	return sum
}

func (r *radix) looseLeaves() []*node {
	var leaves []*node
	var walk func(n *node)
	walk = func(n *node) {
		if len(n.children) == 0 && n.holds == 0 && n.parent != nil {
			leaves = append(leaves, n)
		}
		for _, child := range n.children {
			walk(child)
		}
	}
	for _, root := range r.roots {
		walk(root)
	}
	return leaves
}

// clear empties the cache. Nothing may be held.
func (r *radix) clear() {
	r.roots, r.size = map[string]*node{}, 0
}

func commonPrefix(a, b []int32) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
