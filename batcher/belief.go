package batcher

import "slices"

// belief is what is thought to be in SGLang's prefix cache, in blocks: what
// answered prompts left there, dropped again as SGLang evicts (least recently
// used, leaves first). It may be wrong, and then costs some order, never an
// answer. Guarded by Batcher.mu.
//
// It is a radix tree: blocks that have only come together so far are one segment, and
// parts are not joined again. The segments are closed under prefix, and so are the cached ones: a prompt's are used
// last to first, so a segment is always older than the one it extends and goes
// first.
type belief struct {
	heads          map[uint64]*segment // by the name of the first block
	oldest, newest *segment            // the cached ones, by time of use
	cached         int                 // blocks in that list
	limit          int                 // most of them
	answers        uint64              // learned from so far
	holds          uint64              // nodes held so far
	reserved       int                 // blocks of the server's cache set aside for what is in flight and what follows it
	spares         spares[segment]
}

// segment is a run of blocks that all prompts here share wholly or not at all: one
// that shares a part of it splits it. It exists while it is cached, in flight or
// waited for.
type segment struct {
	names        Prefix   // of its blocks; never empty
	start        int      // blocks above it
	parent       *segment // nil at the beginning of a prompt
	cached       bool
	used         uint64           // the answer that last used it
	computing    int              // members in flight whose first new block is its first
	flying       int              // members in flight that it is part of
	nodes        *node            // of waiting requests, one of each group
	groups       int              // that many
	byGroup      map[*group]*node // of nodes, once there are many
	older, newer *segment         // while cached
}

// end is how many blocks a prompt has that ends here.
func (s *segment) end() int { return s.start + len(s.names) }

// at returns the segment that holds a block of a prompt that ends here, counted
// from 0.
func (s *segment) at(block int) *segment {
	for s.start > block {
		s = s.parent
	}
	return s
}

// known is how many leading blocks of a prompt that ends here are believed cached;
// s may be nil.
func (s *segment) known() int {
	for s != nil && !s.cached {
		s = s.parent
	}
	if s == nil {
		return 0
	}
	return s.end()
}

// common is how many names a and b begin with alike. A name stands for all that
// comes before it, too.
func common(a, b Prefix) int {
	low, high := 0, min(len(a), len(b)) // all below low are alike, none from high on
	if high > 0 && a[high-1] == b[high-1] {
		return high
	}
	for low < high {
		if middle := (low + high) / 2; a[middle] == b[middle] {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

// manyGroups is from how many groups on a segment finds a group's node by map: mostly
// there is one, and what all callers share is found as fast.
const manyGroups = 8

// node is the node of a group, or nil.
func (s *segment) node(g *group) *node {
	if s.byGroup != nil {
		return s.byGroup[g]
	}
	for n := s.nodes; n != nil; n = n.later {
		if n.group == g {
			return n
		}
	}
	return nil
}

// attach makes n the node of its group.
func (s *segment) attach(n *node) {
	n.segment = s
	if n.later = s.nodes; n.later != nil {
		n.later.earlier = n
	}
	s.nodes = n
	s.groups++
	switch {
	case s.byGroup != nil:
		s.byGroup[n.group] = n
	case s.groups > manyGroups:
		s.byGroup = make(map[*group]*node, 2*manyGroups)
		for m := s.nodes; m != nil; m = m.later {
			s.byGroup[m.group] = m
		}
	}
}

// detach undoes attach.
func (s *segment) detach(n *node) {
	if n.earlier == nil {
		s.nodes = n.later
	} else {
		n.earlier.later = n.later
	}
	if n.later != nil {
		n.later.earlier = n.earlier
	}
	if s.groups--; s.groups == 0 {
		s.byGroup = nil
	}
	delete(s.byGroup, n.group)
}

func newBelief(limit int) belief { return belief{heads: make(map[uint64]*segment), limit: limit} }

// segment returns the segment under above with which a prompt goes on from block
// start, all of it in the prompt, making or splitting one where need be.
func (b *belief) segment(p Prefix, start int, above *segment) *segment {
	s := b.heads[p[start]]
	if s == nil {
		s = b.spares.take()
		s.names, s.start, s.parent = p, start, above
		if start > 0 {
			s.names = slices.Clone(p[start:]) // a short end must not keep a long prompt's names
		}
		b.heads[p[start]] = s
		return s
	}
	if n := common(s.names, p[start:]); n < len(s.names) {
		return b.split(s, n)
	}
	return s
}

// split parts a segment after n blocks, and returns the new upper part. The lower
// part stays the segment that it was, with the requests that end there: whoever
// holds a prompt's last segment reaches all others from it.
func (b *belief) split(s *segment, n int) *segment {
	u := b.spares.take()
	u.names, u.start, u.parent = slices.Clone(s.names[:n]), s.start, s.parent
	u.used, u.computing, u.flying = s.used, s.computing, s.flying
	s.names, s.start, s.parent, s.computing = slices.Clone(s.names[n:]), s.start+n, u, 0
	b.heads[u.names[0]], b.heads[s.names[0]] = u, s
	if s.cached { // the upper part is as old, and goes after it
		u.cached, u.older, u.newer = true, s, s.newer
		if s.newer == nil {
			b.newest = u
		} else {
			s.newer.older = u
		}
		s.newer = u
	}
	for m := s.nodes; m != nil; m = m.later {
		u.attach(m.split(n))
	}
	return u
}

// tidy drops a segment that nothing needs.
func (b *belief) tidy(s *segment) {
	if s.cached || s.computing > 0 || s.flying > 0 || s.nodes != nil {
		return
	}
	delete(b.heads, s.names[0])
	b.spares.give(s)
}

// known is how many leading blocks of p are believed cached.
func (b *belief) known(p Prefix) int {
	return b.leading(p, func(s *segment) bool { return s.cached })
}

// knownOf is known of a request's prefix; of one that waits, without a search.
func (b *belief) knownOf(w *waiter) int {
	if w.node != nil {
		return w.node.segment.known()
	}
	return b.known(w.prefix)
}

// seen is how many leading blocks of p are cached, in flight or waited for.
func (b *belief) seen(p Prefix) int {
	return b.leading(p, func(*segment) bool { return true })
}

func (b *belief) leading(p Prefix, counts func(*segment) bool) (blocks int) {
	for blocks < len(p) {
		s := b.heads[p[blocks]]
		if s == nil || !counts(s) {
			return blocks
		}
		n := common(s.names, p[blocks:])
		if blocks += n; n < len(s.names) {
			return blocks
		}
	}
	return blocks
}

// waiting is how many requests wait that need s.
func (s *segment) waiting() int {
	all := 0
	for n := s.nodes; n != nil; n = n.later {
		all += n.all
	}
	return all
}

// begin notes that a member computes a segment, the first new one of its prompt:
// requests that need it had better wait.
func (b *belief) begin(first *segment) {
	first.computing++
	if first.computing == 1 {
		for n := first.nodes; n != nil; n = n.later {
			n.hold()
			b.holds++
		}
	}
}

// reserve sets room aside: for as long as requests stand below w, or, if there
// are none, for its own member, which then has to give back what is returned.
func (b *belief) reserve(w *waiter, room int) (own int) {
	b.reserved += room
	if w.node.all == 1 {
		return room
	}
	w.node.reserved += room
	return 0
}

// end undoes begin, for the segment that has that first block now. It reports
// whether requests that waited for it can go now.
func (b *belief) end(first *segment) (freed bool) {
	first.computing--
	if first.computing == 0 {
		for n := first.nodes; n != nil; n = n.later {
			n.free()
			freed = true
		}
	}
	b.tidy(first)
	return freed
}

// fly takes the segments of a request that is about to leave the queue, and returns
// the last: they stay until land.
func (b *belief) fly(w *waiter) (last *segment) {
	last = w.node.segment
	for s := last; s != nil; s = s.parent {
		s.flying++
	}
	return last
}

// land lets the segments of a member go that has ended.
func (b *belief) land(last *segment) {
	for s := last; s != nil; {
		above := s.parent
		s.flying--
		b.tidy(s)
		s = above
	}
}

// learn takes the answer to a prompt that ends with last, of which known blocks were
// believed cached when it was sent, after so many answers, and the server found
// cachedBlocks: all of it is cached now.
func (b *belief) learn(last *segment, known int, answers uint64, cachedBlocks int) {
	if cachedBlocks < known {
		b.contradict(last.at(cachedBlocks), cachedBlocks, answers)
	}
	b.answers++
	for s := last; s != nil; s = s.parent {
		b.use(s)
	}
	b.shrink(b.limit)
}

// contradict drops what was thought cached after so many answers and was not, of s
// from a block on, with all that was thought to be older: SGLang evicts the oldest
// first. A segment that was used since is there again.
func (b *belief) contradict(s *segment, block int, answers uint64) {
	if !s.cached || s.used > answers {
		return
	}
	if block > s.start {
		b.split(s, block-s.start)
	}
	for b.oldest != s {
		b.evict(b.oldest)
	}
	b.evict(s)
}

// forget drops everything cached, after a flush or a restart.
func (b *belief) forget() {
	b.shrink(0)
}

// shrink drops the oldest until at most limit blocks are cached.
func (b *belief) shrink(limit int) {
	for b.cached > limit {
		s := b.oldest
		switch keep := len(s.names) - (b.cached - limit); {
		case keep <= 0:
			b.evict(s)
		case s.flying == 0 && s.nodes == nil: // so nothing is below it
			if s.names = s.names[:keep]; cap(s.names) > 2*keep {
				s.names = slices.Clone(s.names) // as in segment
			}
			b.cached = limit
		default:
			b.split(s, keep)
			b.evict(s)
		}
	}
}

// setLimit bounds the cached blocks.
func (b *belief) setLimit(limit int) {
	b.limit = limit
	b.shrink(limit)
}

// use makes s the newest cached segment.
func (b *belief) use(s *segment) {
	if s.cached {
		b.unlink(s)
	}
	s.cached, s.used = true, b.answers
	s.older, s.newer = b.newest, nil
	if b.newest == nil {
		b.oldest = s
	} else {
		b.newest.newer = s
	}
	b.newest = s
	b.cached += len(s.names)
}

func (b *belief) evict(s *segment) {
	b.unlink(s)
	s.cached = false
	b.tidy(s)
}

func (b *belief) unlink(s *segment) {
	if s.older == nil {
		b.oldest = s.newer
	} else {
		s.older.newer = s.newer
	}
	if s.newer == nil {
		b.newest = s.older
	} else {
		s.newer.older = s.older
	}
	s.older, s.newer = nil, nil
	b.cached -= len(s.names)
}
