// Package prefix orders waiting prompts so that a server reads every shared
// beginning once.
//
// A Prefix names the beginnings of a prompt, block by block. A Model keeps what
// the server's prefix cache is believed to hold. A Group keeps the waiting
// prompts of one caller as a tree of their prefixes, walked in depth: of those
// that share a new prefix one leads, and the others follow after its answer.
//
// A prompt's way: Group.Add, then Group.Next chooses it, Model.Send takes it out
// of the tree, Model.Answer learns from its answer, Model.Finish frees its
// followers.
//
// The package is pure: no locks, no clock, no goroutines. A Model and its Groups
// are used by one goroutine at a time.
//
// Read prefix.go first, then tree.go.
package prefix

import (
	"container/list"
	"encoding/binary"
	"hash/maphash"
	"slices"
	"sort"
)

// Prefix names the beginnings of a prompt: element i stands for its first i+1
// blocks, so two prompts share their first k blocks exactly when their first k
// elements are equal. A collision of 64 bits costs some order, never an answer.
// A last block that is not full has no name. Values are comparable only within
// one process, and must not be changed once submitted.
type Prefix []uint64

// BlockBytes is the length of a block: 64 token ids of 4 bytes, or about as
// many tokens' worth of text. Long enough that naming a prompt costs little, and
// short enough that less than a block of sharing goes unseen.
const (
	BlockBytes  = 256
	BlockTokens = BlockBytes / 4
)

// seed is drawn once, so that nobody outside can choose prompts that collide.
var seed = maphash.MakeSeed()

// OfTokens names the beginnings of a prompt of token ids. Prompts of different
// spaces (salts, adapters) share nothing.
func OfTokens(ids []int32, space string) Prefix {
	return of(len(ids)/BlockTokens, space, func(i int) uint64 {
		var block [BlockBytes]byte
		for k, id := range ids[i*BlockTokens : (i+1)*BlockTokens] {
			binary.LittleEndian.PutUint32(block[4*k:], uint32(id))
		}
		return maphash.Bytes(seed, block[:])
	})
}

// OfText names the beginnings of a prompt of text. A text and the token ids of
// that text share nothing.
func OfText(text, space string) Prefix {
	return of(len(text)/BlockBytes, "text "+space, func(i int) uint64 {
		return maphash.String(seed, text[i*BlockBytes:(i+1)*BlockBytes])
	})
}

// of makes each name from the name above and the hash of the block.
func of(blocks int, space string, hash func(i int) uint64) Prefix {
	p := make(Prefix, blocks)
	above := maphash.String(seed, space)
	for i := range p {
		var named [16]byte
		binary.LittleEndian.PutUint64(named[:], above)
		binary.LittleEndian.PutUint64(named[8:], hash(i))
		above = maphash.Bytes(seed, named[:])
		p[i] = above
	}
	return p
}

// Model is what the server's prefix cache is believed to hold, in blocks: what
// answered prompts left there, dropped again as SGLang evicts (least recently
// used, leaves first). It may be wrong, which costs some order, never an answer.
//
// It is a radix tree. Blocks that have only come together so far are one
// segment; parts are not joined again. The segments are closed under prefix, and
// so are the cached ones: an answer uses a prompt's segments last to first, so a
// segment is always older than the one it extends and goes first.
type Model struct {
	segments map[uint64]*segment // by the name of the first block
	recent   list.List           // cached segments, least recently used first
	cached   int                 // blocks in recent
	limit    int                 // max blocks in recent
	answers  uint64              // learned from so far
	reserved int                 // blocks of the cache set aside, see Room
}

// segment is a run of blocks that every prompt here shares wholly or not at all.
// It exists while it is cached, in flight or waited for.
type segment struct {
	names     Prefix        // of its blocks; never empty
	start     int           // blocks above it
	parent    *segment      // nil at the beginning of a prompt
	recency   *list.Element // in Model.recent; nil: not cached
	used      uint64        // Model.answers when it was last used
	computing int           // prompts in flight whose first new block is its first
	inFlight  int           // prompts in flight that it is part of
	nodes     []*node       // of waiting prompts, one of each group
}

// InFlight is a prompt that was sent, as the model sees it. The zero value is a
// prompt without named blocks.
type InFlight struct {
	last     *segment // nil without named blocks, and once finished
	known    int      // blocks that were believed cached when it was sent,
	answers  uint64   // after so many answers
	leads    bool     // others wait for the block after them
	reserved int      // blocks set aside for it alone
}

// NewModel returns an empty model of at most limit cached blocks.
func NewModel(limit int) *Model {
	return &Model{segments: make(map[uint64]*segment), limit: limit}
}

// Cached returns the number of blocks that are believed cached.
func (m *Model) Cached() int { return m.cached }

// Reserved returns the blocks set aside for prompts in flight and their followers.
func (m *Model) Reserved() int { return m.reserved }

// SetLimit bounds the cached blocks.
func (m *Model) SetLimit(blocks int) {
	m.limit = blocks
	m.shrink(blocks)
}

// Forget drops everything cached, after a flush or a restart.
func (m *Model) Forget() { m.shrink(0) }

// Known returns how many leading blocks of p are believed cached.
func (m *Model) Known(p Prefix) (blocks int) {
	for blocks < len(p) {
		s := m.segments[p[blocks]]
		if s == nil || s.recency == nil {
			return blocks
		}
		n := common(s.names, p[blocks:])
		if blocks += n; n < len(s.names) {
			return blocks
		}
	}
	return blocks
}

// Send takes a prompt out of its group. It now leads those that share its first
// new block: they are held until Finish.
func (m *Model) Send(e *Entry) InFlight {
	f := InFlight{last: e.node.segment, known: m.Known(e.Prefix), answers: m.answers}
	room := m.Room(e)
	m.reserved += room
	if e.node.all > 1 {
		e.node.reserved += room // until the others are sent, too
	} else {
		f.reserved = room
	}
	for s := f.last; s != nil; s = s.parent {
		s.inFlight++
	}
	e.group.Remove(e)
	if f.last != nil && f.known < f.last.end() {
		f.leads = true
		first := f.last.at(f.known)
		if first.computing++; first.computing == 1 {
			for _, n := range first.nodes {
				n.hold()
			}
		}
	}
	return f
}

// Answer learns from the answer to a prompt that is not finished. The server
// found cached leading blocks of it; all of it is cached now.
func (m *Model) Answer(f *InFlight, cached int) {
	if f.last == nil {
		return
	}
	if cached = min(cached, f.last.end()); cached < f.known {
		m.contradict(f.last.at(cached), cached, f.answers)
	}
	m.answers++
	for s := f.last; s != nil; s = s.parent {
		m.use(s)
	}
	m.shrink(m.limit)
}

// Finish ends a prompt in flight, answered or not, and reports whether it freed
// followers. A second call does nothing.
func (m *Model) Finish(f *InFlight) (freed bool) {
	m.reserved -= f.reserved
	if f.leads {
		first := f.last.at(f.known)
		if first.computing--; first.computing == 0 {
			freed = len(first.nodes) > 0
			for _, n := range first.nodes {
				n.free()
			}
		}
	}
	for s := f.last; s != nil; {
		above := s.parent
		s.inFlight--
		m.tidy(s)
		s = above
	}
	*f = InFlight{}
	return freed
}

// end returns how many blocks a prompt has that ends here.
func (s *segment) end() int { return s.start + len(s.names) }

// at returns the segment that holds a block, counted from 0, of a prompt that
// ends here.
func (s *segment) at(block int) *segment {
	for s.start > block {
		s = s.parent
	}
	return s
}

// common returns how many leading names a and b share. A name stands for all
// blocks before it, too, so a binary search finds the first difference.
func common(a, b Prefix) int {
	return sort.Search(min(len(a), len(b)), func(i int) bool { return a[i] != b[i] })
}

// segment returns the segment under above with which p goes on from block start.
// It makes or splits one where p needs it.
func (m *Model) segment(p Prefix, start int, above *segment) *segment {
	s := m.segments[p[start]]
	if s == nil {
		// A clone, for a short end must not keep the names of a long prompt.
		s = &segment{names: slices.Clone(p[start:]), start: start, parent: above}
		m.segments[p[start]] = s
		return s
	}
	if n := common(s.names, p[start:]); n < len(s.names) {
		return m.split(s, n)
	}
	return s
}

// split parts a segment after n blocks and returns the new upper part. The lower
// part stays the segment that it was: who holds a prompt's last segment
// reaches all others from it.
func (m *Model) split(s *segment, n int) *segment {
	u := &segment{
		names: slices.Clone(s.names[:n]), start: s.start, parent: s.parent,
		used: s.used, computing: s.computing, inFlight: s.inFlight,
	}
	s.names, s.start, s.parent, s.computing = slices.Clone(s.names[n:]), s.start+n, u, 0
	m.segments[u.names[0]], m.segments[s.names[0]] = u, s
	if s.recency != nil {
		u.recency = m.recent.InsertAfter(u, s.recency) // as old, and evicted after it
	}
	for _, lower := range s.nodes {
		lower.split(u)
	}
	return u
}

// tidy drops a segment that nothing needs.
func (m *Model) tidy(s *segment) {
	if s.recency == nil && s.computing == 0 && s.inFlight == 0 && len(s.nodes) == 0 {
		delete(m.segments, s.names[0])
	}
}

// contradict drops s from a block on, and all that was used before: it was
// believed cached after so many answers and was not, and SGLang evicts the least
// recently used first. A segment that was used since is there again.
func (m *Model) contradict(s *segment, block int, answers uint64) {
	if s.recency == nil || s.used > answers {
		return
	}
	if block > s.start {
		m.split(s, block-s.start)
	}
	for s.recency != nil {
		m.evict(m.oldest())
	}
}

// shrink drops the least recently used until at most limit blocks are cached.
func (m *Model) shrink(limit int) {
	for m.cached > limit {
		s := m.oldest()
		keep := len(s.names) - (m.cached - limit)
		if keep > 0 && s.inFlight == 0 && len(s.nodes) == 0 { // so nothing is below it
			s.names = slices.Clone(s.names[:keep]) // a clone: a short rest must not keep all names
			m.cached = limit
			return
		}
		if keep > 0 {
			m.split(s, keep)
		}
		m.evict(s)
	}
}

func (m *Model) oldest() *segment { return m.recent.Front().Value.(*segment) }

// use makes s the most recently used segment.
func (m *Model) use(s *segment) {
	s.used = m.answers
	if s.recency != nil {
		m.recent.MoveToBack(s.recency)
		return
	}
	s.recency = m.recent.PushBack(s)
	m.cached += len(s.names)
}

func (m *Model) evict(s *segment) {
	m.recent.Remove(s.recency)
	s.recency = nil
	m.cached -= len(s.names)
	m.tidy(s)
}
