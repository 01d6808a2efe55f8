package tokenizer

import "slices"

// pairs maps two neighbouring tokens to the token that they merge to and its rank.
type pairs struct {
	merges map[uint64]merged // by left<<32 | right
	bytes  [1 << 16]merged   // of two bytes' tokens, by first<<8 | second

	// Most pairs do not merge. The filter finds most of these without the map: it has
	// a bit for the hash of each pair, and fits a CPU cache.
	filter [1 << (filterBits - 6)]uint64
}

// merged is the result of merging a pair.
type merged struct {
	rank uint32 // index of the pair in the file; never if it does not merge
	id   uint32
}

const never = 1<<32 - 1

func pairKey(left, right uint32) uint64 { return uint64(left)<<32 | uint64(right) }

const filterBits = 20

func filterBit(key uint64) (word int, bit uint64) {
	const spread = 0x9e3779b97f4a7c15 // 2^64 over the golden ratio: spreads near keys over the high bits
	h := key * spread >> (64 - filterBits)
	return int(h >> 6), 1 << (h & 63)
}

// find returns the result of merging a pair.
func (p *pairs) find(left, right uint32) merged {
	key := pairKey(left, right)
	if word, bit := filterBit(key); p.filter[word]&bit != 0 {
		if m, ok := p.merges[key]; ok {
			return m
		}
	}
	return merged{rank: never}
}

// scratch is reusable memory to merge one piece.
type scratch struct {
	short struct { // of a short piece
		ids   [maxShort + 1]uint32
		pairs [maxShort + 1]merged // results of merging each id and the next
	}

	// Of a long one.
	ids, ranks, next []uint32
	prev             []uint32
	heap             []uint64 // rank<<32 | position of the left token
}

// maxShort is the max bytes of a piece whose best pair is found by a linear search, which
// is faster than a heap up to there.
const maxShort = 192

// maxKept is the max bytes of a piece whose scratch memory is kept.
const maxKept = 1 << 16

// merge appends the ids of a piece. It begins with the bytes of the piece and merges the
// pair with the lowest rank, the leftmost among equals, until no pair merges.
func (t *Tokenizer) merge(dst []int32, text string, s *scratch) []int32 {
	n := len(text)
	if n > maxShort {
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

// mergeLong is merge with a heap of pairs and links between tokens. It takes n·log n for
// any piece. The heap is not container/heap, which allocates for each pair and takes twice
// as long.
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
			continue // merged meanwhile, or now another pair
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
	if n > maxKept {
		s.ids, s.ranks, s.next, s.prev, s.heap = nil, nil, nil, nil, nil
	}
	return dst
}

// offer adds the pair at i to the heap, if it merges.
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
