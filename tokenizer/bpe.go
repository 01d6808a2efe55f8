package tokenizer

import "slices"

// pairs tells of two neighbouring tokens which one they merge to, and how early:
// an open hash table.
type pairs struct {
	slots []pair
	shift uint
	bytes [1 << 16]merged // of two bytes' tokens, by first<<8 | second

	// Most pairs that are looked for do not merge, and for most of these this
	// says so: it has a bit for each pair's hash, and stays in a near cache.
	filter [1 << (filterBits - 6)]uint64
}

const filterBits = 20

func filterBit(key uint64) (word int, bit uint64) {
	h := key * spread >> (64 - filterBits)
	return int(h >> 6), 1 << (h & 63)
}

// merged is what a pair merges to.
type merged struct {
	rank uint32 // never if it does not
	id   uint32
}

type pair struct {
	key  uint64 // left<<32 | right
	rank uint32 // 1 + its place in the file; 0: the slot is free
	id   uint32 // what they merge to
}

func pairKey(left, right uint32) uint64 { return uint64(left)<<32 | uint64(right) }

// spread is 2^64 over the golden ratio: multiplied by it, the high bits of near
// keys lie far apart.
const spread = 0x9e3779b97f4a7c15

func (p *pairs) allocate(n int) {
	bits := sizeBits(n)
	p.slots, p.shift = make([]pair, 1<<bits), 64-bits
}

// sizeBits is the logarithm of a table's size of which n entries fill at most two
// thirds: a small table misses the processor's cache less often.
func sizeBits(n int) (bits uint) {
	for bits = 1; 1<<bits < n+n/2; bits++ {
	}
	return bits
}

// at is the slot that holds the key, or the free one where it belongs.
func (p *pairs) at(key uint64) *pair {
	for i := key * spread >> p.shift; ; i++ {
		if s := &p.slots[i&uint64(len(p.slots)-1)]; s.key == key || s.rank == 0 {
			return s
		}
	}
}

func mix(key uint64) uint64 {
	key *= spread
	return (key ^ key>>29) * spread
}

// find is what a pair merges to.
func (p *pairs) find(left, right uint32) merged {
	key := pairKey(left, right)
	if word, bit := filterBit(key); p.filter[word]&bit == 0 {
		return merged{rank: never}
	}
	if s := p.at(key); s.rank != 0 {
		return merged{s.rank, s.id}
	}
	return merged{rank: never}
}

const never = 1<<32 - 1

// pieces finds the token that a whole piece merges to: most pieces are one. It is
// an open hash table over the tokens' texts. The first eight bytes of a text stand
// in the table, for most have no more.
type pieces struct {
	slots []piece
	shift uint
}

type piece struct {
	start  uint64 // the text's first eight bytes, padded with zeros
	id     uint32
	length uint32 // bytes; 0: the slot is free
}

func newPieces(n int) pieces {
	bits := sizeBits(n)
	return pieces{slots: make([]piece, 1<<bits), shift: 64 - bits}
}

// find finds the token of the piece text[:n].
func (p *pieces) find(t *Tokenizer, text string, n int) (id uint32, ok bool) {
	start := firstBytes(text, n)
	for i := hash(start, text[:n]) >> p.shift; ; i++ {
		s := &p.slots[i&uint64(len(p.slots)-1)]
		if s.start == start && int(s.length) == n && (n <= 8 || t.token(s.id) == text[:n]) {
			return s.id, true
		}
		if s.length == 0 {
			return 0, false
		}
	}
}

func (p *pieces) add(text string, id uint32) {
	start := firstBytes(text, len(text))
	for i := hash(start, text) >> p.shift; ; i++ {
		if s := &p.slots[i&uint64(len(p.slots)-1)]; s.length == 0 {
			*s = piece{start, id, uint32(len(text))}
			return
		}
	}
}

// firstBytes is the first eight bytes of text[:n], padded with zeros.
func firstBytes(text string, n int) (start uint64) {
	if len(text) >= 8 {
		start = word(text)
		if n < 8 {
			start &= 1<<(8*n) - 1
		}
		return start
	}
	for i := range n {
		start |= uint64(text[i]) << (8 * i)
	}
	return start
}

// hash need not resist collisions made on purpose: only the vocabulary's own
// texts are in the table.
func hash(start uint64, text string) uint64 {
	h := mix(start ^ uint64(len(text))<<56)
	for len(text) > 8 {
		text = text[8:]
		h = mix(h ^ firstBytes(text, min(len(text), 8)))
	}
	return h
}

func word(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// scratch is the room to merge one piece in.
type scratch struct {
	short struct { // of a short piece
		ids   [mostShort + 1]uint32
		pairs [mostShort + 1]merged // what each id and the next merge to
	}

	// Of a long one.
	ids, ranks, next []uint32
	prev             []uint32
	heap             []uint64 // rank<<32 | position of the left token
}

// mostShort is the longest piece, in bytes, whose best pair is looked for one by
// one: below it that is faster than a heap.
const mostShort = 192

// keptScratch is the longest piece, in bytes, whose room is kept for the next.
const keptScratch = 1 << 16

// merge appends the ids of a piece: beginning with its bytes, the pair with the
// lowest rank is merged, the leftmost among equals, until none merges.
func (t *Tokenizer) merge(dst []int32, text string, s *scratch) []int32 {
	n := len(text)
	if n > mostShort {
		return t.mergeLong(dst, text, s)
	}
	ids, pairs := &s.short.ids, &s.short.pairs
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

// mergeLong is merge with a heap of pairs and a linked list of tokens: n·log n,
// whatever the piece is made of.
func (t *Tokenizer) mergeLong(dst []int32, text string, s *scratch) []int32 {
	n := uint32(len(text))
	s.ids, s.ranks = grown(s.ids, n), grown(s.ranks, n)
	s.next, s.prev = grown(s.next, n), grown(s.prev, n)
	s.heap = s.heap[:0]
	for i := range n {
		s.ids[i], s.next[i], s.prev[i] = t.byteIDs[text[i]], i+1, i-1
	}
	for i := range n - 1 {
		t.offer(s, i)
	}
	s.ranks[n-1] = never
	for len(s.heap) > 0 {
		top := s.pop()
		i := uint32(top)
		if s.ranks[i] != uint32(top>>32) {
			continue // merged, or another pair now
		}
		right := s.next[i]
		s.ids[i] = t.pairs.find(s.ids[i], s.ids[right]).id
		s.ranks[right] = never
		if s.next[i] = s.next[right]; s.next[i] < n {
			s.prev[s.next[i]] = i
			t.offer(s, i)
		} else {
			s.ranks[i] = never
		}
		if i > 0 {
			t.offer(s, s.prev[i])
		}
	}
	for i := uint32(0); i < n; i = s.next[i] {
		dst = append(dst, int32(s.ids[i]))
	}
	if n > keptScratch {
		s.ids, s.ranks, s.next, s.prev, s.heap = nil, nil, nil, nil, nil
	}
	return dst
}

// offer puts the pair at i into the heap, if it merges.
func (t *Tokenizer) offer(s *scratch, i uint32) {
	rank := t.pairs.find(s.ids[i], s.ids[s.next[i]]).rank
	if s.ranks[i] = rank; rank != never {
		s.push(uint64(rank)<<32 | uint64(i))
	}
}

func grown(s []uint32, n uint32) []uint32 { return slices.Grow(s[:0], int(n))[:n] }

func (s *scratch) push(x uint64) {
	s.heap = append(s.heap, x)
	h := s.heap
	i := len(h) - 1
	for i > 0 && h[(i-1)/2] > x {
		h[i] = h[(i-1)/2]
		i = (i - 1) / 2
	}
	h[i] = x
}

func (s *scratch) pop() uint64 {
	h := s.heap
	top, x := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	s.heap = h
	for i := 0; len(h) > 0; {
		child := 2*i + 1
		if child+1 < len(h) && h[child+1] < h[child] {
			child++
		}
		if child >= len(h) || h[child] >= x {
			h[i] = x
			break
		}
		h[i] = h[child]
		i = child
	}
	return top
}
