package sim

import (
	"cmp"
	"slices"
)

// radix is the prefix cache: a radix tree over token ids for each space (cache salt and
// adapter), with a common capacity in tokens. It evicts the least recently used leaves
// first, and no tokens that a running request uses. It is not safe for concurrent use.
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

// match returns the number of leading tokens that are cached, and the node at their end.
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

// insert caches tokens, as far as there is room, and returns the node at their end. Tokens
// that are already cached stay where they are.
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
func (r *radix) hold(n *node) { r.count(n, 1) }

func (r *radix) release(n *node) { r.count(n, -1) }

func (r *radix) count(n *node, holds int) {
	for ; n != nil; n = n.parent {
		n.holds += holds
	}
}

// makeRoom evicts until at most room tokens are cached. If more are held, it evicts nothing
// and returns false.
func (r *radix) makeRoom(room int) bool {
	for r.size > room {
		held, leaves := r.survey()
		if held > room || len(leaves) == 0 {
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

// survey returns the number of held tokens, and the leaves that are not held.
func (r *radix) survey() (held int, loose []*node) {
	var walk func(n *node)
	walk = func(n *node) {
		switch {
		case n.holds > 0:
			held += len(n.tokens)
		case len(n.children) == 0 && n.parent != nil:
			loose = append(loose, n)
		}
		for _, child := range n.children {
			walk(child)
		}
	}
	for _, root := range r.roots {
		walk(root)
	}
	return held, loose
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
