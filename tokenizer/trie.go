package tokenizer

import (
	"errors"
	"math/bits"
	"slices"
)

// trie finds the tokens that a text begins with. Its nodes stand in a hash table, by the
// node before and the byte that leads from there; a node's number is its slot's.
type trie struct {
	slots []slot // a power of two
	shift int    // 32 - log2 of the slots
}

type slot struct {
	key uint32 // see trieKey; 0 is an empty slot
	id  uint32 // of the token that ends here; never if none does
}

const root = -1

func trieKey(node int, b byte) uint32 { return uint32(node+2)<<8 | uint32(b) }

// maxSlots is how many nodes trieKey can tell apart.
const maxSlots = 1 << 23

// newTrie returns a trie with room for texts.
func newTrie(texts []string) (*trie, error) {
	sorted, nodes, before := slices.Sorted(slices.Values(texts)), 1, ""
	for _, text := range sorted {
		nodes += len(text) - commonPrefix(before, text)
		before = text
	}
	size := 1 << bits.Len(uint(nodes+nodes/4))
	if size > maxSlots {
		return nil, errors.New("model.vocab: the tokens are longer than is supported")
	}
	return &trie{slots: make([]slot, size), shift: 32 - bits.TrailingZeros(uint(size))}, nil
}

func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// find is the slot of a node's child, or the empty one where it would be.
func (t *trie) find(node int, b byte) (int, bool) {
	const spread = 0x9e3779b1 // 2^32 over the golden ratio
	key := trieKey(node, b)
	at := int(key * spread >> t.shift)
	for t.slots[at].key != key {
		if t.slots[at].key == 0 {
			return at, false
		}
		at = (at + 1) & (len(t.slots) - 1)
	}
	return at, true
}

// add adds a token.
func (t *trie) add(text string, id uint32) {
	node := root
	for i := range len(text) {
		at, there := t.find(node, text[i])
		if !there {
			t.slots[at] = slot{trieKey(node, text[i]), never}
		}
		node = at
	}
	t.slots[node].id = id
}

// longest is the longest token that a text begins with, or never.
func (t *trie) longest(text string) uint32 {
	node, id := root, uint32(never)
	for i := range len(text) {
		at, there := t.find(node, text[i])
		if !there {
			break
		}
		if node = at; t.slots[at].id != never {
			id = t.slots[at].id
		}
	}
	return id
}
