package tokenizer

import (
	"math/bits"
	"slices"
)

// pairs maps two neighbouring tokens to the token that they merge to and its rank.
type pairs struct {
	table []pairEntry     // a hash table with a power of two of places
	shift int             // 64 - log2 of the places
	bytes [1 << 16]merged // of two bytes' tokens, by first<<8 | second

	// Most pairs do not merge. The filter finds most of these without the map: it has
	// a bit for the hash of each pair, and fits a CPU cache.
	filter [1 << (filterBits - 6)]uint64
}

// pairEntry is an empty place if its rank is never.
type pairEntry struct {
	key uint64
	merged
}

// merged is what a pair merges to.
type merged struct {
	rank uint32 // index of the pair in the file; never if it does not merge
	id   uint32
}

const never = 1<<32 - 1

func pairKey(left, right uint32) uint64 { return uint64(left)<<32 | uint64(right) }

const filterBits = 20

// pairHash is a hash whose high bits lie far apart for near keys.
func pairHash(key uint64) uint64 {
	const spread = 0x9e3779b97f4a7c15 // 2^64 over the golden ratio
	return key * spread
}

func filterBit(hash uint64) (word int, bit uint64) {
	h := hash >> (64 - filterBits)
	return int(h >> 6), 1 << (h & 63)
}

// newPairs returns a table with room for n pairs.
func newPairs(n int) (p pairs) {
	size := bits.Len(uint(n + n/2))
	p.table, p.shift = make([]pairEntry, 1<<size), 64-size
	for i := range p.table {
		p.table[i].rank = never
	}
	return p
}

// find is what a pair merges to.
func (p *pairs) find(left, right uint32) merged {
	key := pairKey(left, right)
	hash := pairHash(key)
	if word, bit := filterBit(hash); p.filter[word]&bit == 0 {
		return merged{rank: never}
	}
	return p.table[p.place(key, hash)].merged
}

// place is where a pair is in the table, or would be.
func (p *pairs) place(key, hash uint64) int {
	at := int(hash >> p.shift)
	for p.table[at].rank != never && p.table[at].key != key {
		at = (at + 1) & (len(p.table) - 1)
	}
	return at
}

// add adds a pair.
func (p *pairs) add(left, right uint32, m merged) {
	key := pairKey(left, right)
	hash := pairHash(key)
	word, bit := filterBit(hash)
	p.filter[word] |= bit
	p.table[p.place(key, hash)] = pairEntry{key, m}
}

// scratch is reusable memory to merge one piece.
type scratch struct {
	ids   [maxShort + 1]uint32
	pairs [maxShort + 1]merged // what each id and the next merge to
	dead  []uint64             // of a long piece: a bit for each place where no encoding goes on
	known [1 << 10]struct {    // what apart said of the latest pairs, by their hash
		key   uint64 // 1 + pairKey
		apart bool
	}
}

// maxShort is the longest piece, in bytes, whose best pair is looked for one by one: below
// it that is faster than looking for whole tokens.
const maxShort = 24

// maxKept is the longest piece, in bytes, whose room is kept for the next.
const maxKept = 1 << 20

// merge appends the ids of a piece. It begins with the bytes of the piece and merges the
// pair with the lowest rank, the leftmost among equals, until no pair merges.
func (t *Tokenizer) merge(dst []int32, text string, s *scratch) []int32 {
	n := len(text)
	if n > maxShort {
		return t.mergeLong(dst, text, s)
	}
	ids, pairs := &s.ids, &s.pairs
	for i := range n - 1 {
		ids[i] = t.byteIDs[text[i]]
		pairs[i] = t.pairs.bytes[int(text[i])<<8|int(text[i+1])]
	}
	ids[n-1] = t.byteIDs[text[n-1]]
	for n > 1 {
		best, rank := 0, uint32(never)
		for i := range n - 1 {
			if r := pairs[i].rank; r < rank {
				best, rank = i, r
			}
		}
		if rank == never {
			break
		}
		ids[best] = pairs[best].id
		for i := best + 1; i < n-1; i++ {
			ids[i], pairs[i] = ids[i+1], pairs[i+1]
		}
		n--
		if best > 0 {
			pairs[best-1] = t.pairs.find(ids[best-1], ids[best])
		}
		if best < n-1 {
			pairs[best] = t.pairs.find(ids[best], ids[best+1])
		}
	}
	for _, id := range ids[:n] {
		dst = append(dst, int32(id))
	}
	return dst
}

// mergeLong is merge in a time that grows with the length alone. It relies on what addMerges
// checks: the parts of a token are made before it, in one way. Then tokens are the encoding
// of a text if each two neighbours are the encoding of theirs (see apart), so they can be
// found from the left, going back where a token leads nowhere. At most one encoding leads to
// a place, so a place where none goes on is tried once.
func (t *Tokenizer) mergeLong(dst []int32, text string, s *scratch) []int32 {
	s.dead = slices.Grow(s.dead[:0], len(text)/64+1)[:len(text)/64+1]
	clear(s.dead)
	start := len(dst)
	for at := 0; at < len(text); {
		id := t.next(text, at, dst[start:], s)
		if id != never {
			dst = append(dst, int32(id))
			at += t.size(id)
			continue
		}
		s.dead[at/64] |= 1 << (at % 64)
		at -= t.size(uint32(dst[len(dst)-1]))
		dst = dst[:len(dst)-1]
	}
	if len(text) > maxKept {
		s.dead = nil
	}
	return dst
}

// next is the token at a place behind those before it: the same as the last again, for texts
// of one letter, or the longest that stays apart and does not end at a dead place. It is
// never if there is none.
func (t *Tokenizer) next(text string, at int, before []int32, s *scratch) uint32 {
	fits := func(id uint32) bool {
		end := at + t.size(id)
		return s.dead[end/64]>>(end%64)&1 == 0 && (len(before) == 0 || t.apartNow(uint32(before[len(before)-1]), id, s))
	}
	if len(before) > 0 {
		last := uint32(before[len(before)-1])
		if n := t.size(last); len(text)-at >= n && text[at:at+n] == text[at-n:at] && fits(last) {
			return last
		}
	}
	id := t.trie.longest(text[at:])
	for id != never && !fits(id) {
		id = t.made[id].prefix
	}
	return id
}

// apartNow is apart without a limit. It remembers: text that repeats itself has the same
// neighbours again.
func (t *Tokenizer) apartNow(left, right uint32, s *scratch) bool {
	key := pairKey(left, right)
	k := &s.known[pairHash(key)>>(64-10)]
	if k.key != key+1 {
		k.key, k.apart = key+1, t.apart(left, right, never)
	}
	return k.apart
}

// made is how a token comes about.
type made struct {
	left, right uint32 // its parts
	rank        uint32 // 1 + the place in the file of the merge that makes it; 0 for a byte
	prefix      uint32 // the longest other token that it begins with; never if there is none
}

// apart reports whether two neighbours, each merged from its own bytes, stay as they are: no
// pair across their border merges before the place limit in the file. It undoes their merges,
// the last first, and looks at the pair that stood at the border before each. Of equal ranks
// the left one is merged first.
func (t *Tokenizer) apart(left, right, limit uint32) bool {
	for {
		if t.pairs.find(left, right).rank < limit {
			return false
		}
		l, r := &t.made[left], &t.made[right]
		switch {
		case l.rank > r.rank:
			left, limit = l.right, l.rank-1
		case r.rank > 0:
			right, limit = r.left, r.rank
		default:
			return true
		}
	}
}
