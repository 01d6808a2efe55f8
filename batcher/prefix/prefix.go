// Package prefix orders waiting prompts so that a server reads every shared
// beginning once.
//
// A Prefix names the beginnings of a prompt, block by block. A Model estimates what the
// server's prefix cache holds. A Group keeps the waiting prompts of one caller as a tree
// of their prefixes and walks it depth first. Of the prompts that share a new prefix one
// leads, and the others follow after its answer.
//
// The calls for a prompt, in order: Group.Add; Group.Next chooses it; Model.Send takes it
// out of the tree; Model.Answer learns from its answer; Model.Finish frees its followers.
//
// The package is pure: it has no locks, no clock and no goroutines. A Model and its
// Groups must be used by one goroutine at a time.
//
// Read prefix.go first, then tree.go.
package prefix

import (
	"container/list"
	"encoding/binary"
	"hash/maphash"
	"math"
	"slices"
	"sort"
	"time"
)

// Prefix names the beginnings of a prompt: element i is a hash of its first i+1 blocks.
// Two prompts share their first k blocks if their first k elements are equal. A hash
// collision makes the order worse and no answer wrong. A last block that is not full has
// no name. Values are comparable only within one process. A Prefix must not be changed
// once it is submitted.
type Prefix []uint64

// BlockBytes is the length of a block: 64 token ids of 4 bytes, or the text of about as
// many tokens. Longer blocks miss more of what prompts share; shorter ones cost more to
// name.
const (
	BlockBytes  = 256
	BlockTokens = BlockBytes / 4
)

// seed is random, so that callers can't choose prompts that collide.
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

// of computes each name from the one before it and the hash of the block.
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

// Model estimates what the server's prefix cache holds, in blocks. An answer adds the
// blocks of its prompt. They are dropped as SGLang evicts: the least recently used first,
// leaves before their parents. A wrong estimate makes the order worse and no answer wrong.
//
// The model is a radix tree. Blocks that so far have always appeared together are one
// segment; the parts of a split segment are not joined again. The segments are closed
// under prefix, and so are the cached ones: an answer marks the segments of a prompt as
// used from last to first, so a segment is always older than its parent and is evicted
// before it.
type Model struct {
	segments map[uint64]*segment // by the name of the first block
	recent   list.List           // cached segments, least recently used first
	cached   int                 // blocks in recent
	limit    int                 // max blocks in recent
	answers  uint64              // learned from so far
	reserved int                 // blocks of the cache that are set aside, see Room
	now      time.Time           // see SetTime
	trusted  time.Time           // what was used since then is beyond doubt
	proven   time.Time           // what was used since then was cached at provenAt
	provenAt time.Time
}

// segment is a run of blocks. Every known prompt has all of them or none. A segment exists
// while it is cached, or part of a prompt that is in flight or waits.
type segment struct {
	names     Prefix        // of its blocks; never empty
	start     int           // blocks before it in a prompt
	parent    *segment      // nil at the beginning of a prompt
	recency   *list.Element // in Model.recent; nil: not cached
	used      uint64        // Model.answers when it was last used
	usedAt    time.Time     // Model.now then
	computing int           // prompts in flight whose first new block is the first here
	leader    any           // Entry.Value of the first of them
	inFlight  int           // prompts in flight that include it
	nodes     []*node       // of waiting prompts, one of each group
}

// InFlight is the model's state of a prompt that was sent. The zero value is a prompt
// without named blocks.
type InFlight struct {
	last     *segment  // nil without named blocks, and once finished
	cached   int       // blocks that the model had as cached when it was sent
	oldest   time.Time // when the last of them was used
	known    int       // of them, beyond doubt
	answers  uint64    // Model.answers when it was sent
	leads    bool      // others wait for its first new block
	reserved int       // blocks that are set aside for it alone
}

// NewModel returns an empty model of at most limit cached blocks.
func NewModel(limit int) *Model {
	return &Model{segments: make(map[uint64]*segment), limit: limit}
}

// Cached returns the number of blocks that the model has as cached.
func (m *Model) Cached() int { return m.cached }

// Reserved returns the number of blocks set aside for prompts in flight and their followers.
func (m *Model) Reserved() int { return m.reserved }

// SetLimit bounds the cached blocks.
func (m *Model) SetLimit(blocks int) {
	m.limit = blocks
	m.shrink(blocks)
}

// Forget drops all cached blocks, after a flush or a restart.
func (m *Model) Forget() { m.shrink(0) }

// doubtAfter is how long blocks are trusted without being used. To believe wrongly costs
// their tokens once for each prompt, to doubt wrongly one short wait. On a simulated H100
// with a cache for a quarter of the load, 250 ms wasted 3 % of the tokens, 1 s 25 to 50 %.
const doubtAfter = 250 * time.Millisecond

// SetTime sets the clock by which blocks that were not used lately come into doubt: others
// may have emptied the cache, or filled it. Prompts that share doubtful blocks wait for one
// of them, as if the blocks were new, and its answer ends the doubt. The server evicts the
// least recently used first. So a block that is found cached proves for a while that all
// that were used since are cached.
func (m *Model) SetTime(now time.Time) {
	m.now, m.trusted = now, now.Add(-doubtAfter)
	if m.proven.Before(m.trusted) && !m.provenAt.Before(m.trusted) {
		m.trusted = m.proven
	}
}

// Known returns how many leading blocks of p the model has as cached, or has so beyond
// doubt.
func (m *Model) Known(p Prefix, beyondDoubt bool) (blocks int) {
	for blocks < len(p) {
		s := m.segments[p[blocks]]
		if s == nil || s.recency == nil || beyondDoubt && s.usedAt.Before(m.trusted) {
			return blocks
		}
		n := common(s.names, p[blocks:])
		if blocks += n; n < len(s.names) {
			return blocks
		}
	}
	return blocks
}

// Computing returns how many leading blocks of p are cached beyond doubt, and how many after
// those are being computed for prompts in flight.
func (m *Model) Computing(p Prefix) (trusted, computing int) {
	trusted = m.Known(p, true)
	at := trusted
	for at < len(p) {
		s := m.segments[p[at]]
		if s == nil || s.inFlight == 0 || s.start != at {
			break
		}
		n := common(s.names, p[at:])
		if at += n; n < len(s.names) {
			break
		}
	}
	return trusted, at - trusted
}

// Send takes a prompt out of its group. The prompt now leads those that share its first
// new block. They are held until Finish.
func (m *Model) Send(e *Entry) InFlight {
	f := InFlight{last: e.node.segment, known: m.Known(e.Prefix, true), answers: m.answers}
	room := m.Room(e)
	m.reserved += room
	if e.node.all > 1 {
		e.node.reserved += room // until the others are sent too
	} else {
		f.reserved = room
	}
	for s := f.last; s != nil; s = s.parent {
		s.inFlight++
		if s.recency != nil && f.cached == 0 {
			f.cached, f.oldest = s.start+len(s.names), s.usedAt
		}
	}
	e.group.Remove(e)
	if f.last != nil && f.known < f.last.end() {
		f.leads = true
		first := f.last.at(f.known)
		if first.computing++; first.computing == 1 {
			first.leader = e.Value
			for _, n := range first.nodes {
				n.hold()
			}
		}
	}
	return f
}

// Followed reports whether other prompts wait for this one.
func (f *InFlight) Followed() bool { return f.leads && len(f.last.at(f.known).nodes) > 0 }

// Unlead makes a prompt in flight one that no other waits for.
func (m *Model) Unlead(f *InFlight) (freed bool) {
	if !f.leads {
		return false
	}
	f.leads = false
	first := f.last.at(f.known)
	if first.computing--; first.computing > 0 {
		return false
	}
	first.leader = nil
	for _, n := range first.nodes {
		n.free()
	}
	return len(first.nodes) > 0
}

// NotCounted is the number of cached blocks in an answer that does not tell it.
const NotCounted = math.MaxInt

// Answer learns from the answer to a prompt. cached is the number of leading blocks that
// the server found in its cache, or NotCounted. All blocks of the prompt are cached now.
// Answer must come before Finish.
func (m *Model) Answer(f *InFlight, cached int) {
	if f.last == nil {
		return
	}
	switch {
	case cached < f.cached:
		m.contradict(f.last.at(cached), cached, f.answers)
		m.provenAt = time.Time{}
	case cached != NotCounted && f.cached > f.known:
		m.proven, m.provenAt = f.oldest, m.now
	}
	m.answers++
	for s := f.last; s != nil; s = s.parent {
		m.use(s)
	}
	m.shrink(m.limit)
}

// Finish ends a prompt in flight, with or without an answer, and reports whether it freed
// followers. A second call does nothing.
func (m *Model) Finish(f *InFlight) (freed bool) {
	m.reserved -= f.reserved
	freed = m.Unlead(f)
	for s := f.last; s != nil; {
		above := s.parent
		s.inFlight--
		m.tidy(s)
		s = above
	}
	*f = InFlight{}
	return freed
}

// end returns the number of blocks of a prompt that ends here.
func (s *segment) end() int { return s.start + len(s.names) }

// at returns the segment of the given block, counted from 0, of a prompt that ends here.
func (s *segment) at(block int) *segment {
	for s.start > block {
		s = s.parent
	}
	return s
}

// common returns how many leading names a and b share. A name depends on all blocks before
// it, so a binary search finds the first difference.
func common(a, b Prefix) int {
	return sort.Search(min(len(a), len(b)), func(i int) bool { return a[i] != b[i] })
}

// segment returns the child of above that continues p at block start. It makes or splits
// a segment if p needs one. It returns nil if the name of the block collides with another.
func (m *Model) segment(p Prefix, start int, above *segment) *segment {
	s := m.segments[p[start]]
	if s == nil {
		// A clone, because a short end must not keep the names of a long prompt.
		s = &segment{names: slices.Clone(p[start:]), start: start, parent: above}
		m.segments[p[start]] = s
		return s
	}
	if s.start != start || s.parent != above {
		return nil
	}
	if n := common(s.names, p[start:]); n < len(s.names) {
		return m.split(s, n)
	}
	return s
}

// split splits a segment after n blocks and returns the new upper part. The lower part
// keeps its identity, because a prompt refers to its last segment and finds the others
// from there.
func (m *Model) split(s *segment, n int) *segment {
	u := &segment{
		names: slices.Clone(s.names[:n]), start: s.start, parent: s.parent,
		used: s.used, usedAt: s.usedAt, computing: s.computing, inFlight: s.inFlight,
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

// contradict corrects the model: the block of s that it had as cached after the given
// number of answers was not cached. SGLang evicts the least recently used first, so
// contradict drops s from that block on, and all segments that were used before s. If the
// cache can't be full of what the model knows, something else emptied it, such as a flush
// or other clients, and all segments that were not used since are dropped: to believe too
// little costs a short wait, to believe too much costs the same tokens again and again. A
// segment that was used since is cached again and stays.
func (m *Model) contradict(s *segment, block int, answers uint64) {
	if s.recency == nil || s.used > answers {
		return
	}
	if block > s.start {
		m.split(s, block-s.start)
	}
	emptied := m.cached < m.limit
	for s.recency != nil || emptied && m.recent.Len() > 0 && m.oldest().used <= answers {
		m.evict(m.oldest())
	}
}

// shrink drops the least recently used blocks until at most limit are cached.
func (m *Model) shrink(limit int) {
	for m.cached > limit {
		s := m.oldest()
		keep := len(s.names) - (m.cached - limit)
		if keep > 0 && s.inFlight == 0 && len(s.nodes) == 0 { // so it has no children
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
	s.used, s.usedAt = m.answers, m.now
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
