package batcher

import "slices"

// belief is what is thought to be in SGLang's prefix cache, in blocks: what
// answered prompts left there, dropped again as SGLang evicts (least recently
// used, leaves first). It may be wrong, and then costs some order, never an
// answer. Guarded by Batcher.mu.
//
// The cached blocks are closed under prefix: a prompt's blocks are used last to
// first, so a block is always older than the one it extends and goes first.
type belief struct {
	blocks         map[uint64]*block
	oldest, newest *block     // the cached blocks, by time of use
	cached         int        // in that list
	limit          int        // most of them
	answers        uint64     // learned from so far
	holds          uint64     // nodes held so far
	reserved       int        // blocks of the server's cache set aside for what is in flight and what follows it
	spare          *block     // unused ones, linked by newer
	lists          [][]*block // unused ones, for fly
}

// block is one block of some prompt. It exists while it is cached, in flight or
// waited for.
type block struct {
	name         uint64
	cached       bool
	used         uint64           // the answer that last used it
	computing    int              // members in flight whose first new block it is
	flying       int              // members in flight that it is part of
	nodes        *node            // of waiting requests, one of each group
	groups       int              // that many
	byGroup      map[*group]*node // of nodes, once there are many
	older, newer *block           // while cached
}

// manyGroups is from how many groups on a block finds a group's node by map: mostly
// there is one, and what all callers share is found as fast.
const manyGroups = 8

// node is the node of a group, or nil.
func (k *block) node(g *group) *node {
	if k.byGroup != nil {
		return k.byGroup[g]
	}
	for n := k.nodes; n != nil; n = n.later {
		if n.group == g {
			return n
		}
	}
	return nil
}

// attach makes n the node of its group.
func (k *block) attach(n *node) {
	if n.later = k.nodes; n.later != nil {
		n.later.earlier = n
	}
	k.nodes = n
	k.groups++
	switch {
	case k.byGroup != nil:
		k.byGroup[n.group] = n
	case k.groups > manyGroups:
		k.byGroup = make(map[*group]*node, 2*manyGroups)
		for m := k.nodes; m != nil; m = m.later {
			k.byGroup[m.group] = m
		}
	}
}

// detach undoes attach.
func (k *block) detach(n *node) {
	if n.earlier == nil {
		k.nodes = n.later
	} else {
		n.earlier.later = n.later
	}
	if n.later != nil {
		n.later.earlier = n.earlier
	}
	if k.groups--; k.groups == 0 {
		k.byGroup = nil
	}
	delete(k.byGroup, n.group)
}

func newBelief(limit int) belief { return belief{blocks: make(map[uint64]*block), limit: limit} }

// get returns the block of a name, making it where there is none.
func (b *belief) get(name uint64) *block {
	if k := b.blocks[name]; k != nil {
		return k
	}
	k := b.spare
	if k == nil {
		k = new(block)
	} else {
		b.spare = k.newer
	}
	*k = block{name: name}
	b.blocks[name] = k
	return k
}

// tidy drops a block that nothing needs.
func (b *belief) tidy(k *block) {
	if k.cached || k.computing > 0 || k.flying > 0 || k.nodes != nil {
		return
	}
	delete(b.blocks, k.name)
	*k = block{newer: b.spare}
	b.spare = k
}

// known is how many leading blocks of p are believed cached.
func (b *belief) known(p Prefix) int {
	low, high := 0, len(p) // all below low are cached, none from high on
	for low < high {
		middle := (low + high) / 2
		if k := b.blocks[p[middle]]; k != nil && k.cached {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

// seen is how many leading blocks of p are cached, in flight or waited for.
func (b *belief) seen(p Prefix) int {
	low, high := 0, len(p)
	for low < high {
		middle := (low + high) / 2
		if b.blocks[p[middle]] != nil {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

// waiting is how many requests wait that need k.
func (k *block) waiting() int {
	all := 0
	for n := k.nodes; n != nil; n = n.later {
		all += n.all
	}
	return all
}

// begin notes that a member computes a block, the first new one of its prompt:
// requests that need it had better wait.
func (b *belief) begin(first *block) {
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

// end undoes begin. It reports whether requests that waited for it can go now.
func (b *belief) end(first *block) (freed bool) {
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

// mostLists is how many unused lists of blocks are kept: those of a large batch.
const mostLists = 64

// fly takes the blocks of a request that is about to leave the queue, the last
// first: they stay until land, which takes the list back.
func (b *belief) fly(w *waiter) []*block {
	if len(w.prefix) == 0 {
		return nil
	}
	var blocks []*block
	if last := len(b.lists) - 1; last >= 0 {
		blocks, b.lists[last], b.lists = b.lists[last], nil, b.lists[:last]
	}
	blocks = slices.Grow(blocks, len(w.prefix))
	for n := w.node; n.parent != nil; n = n.parent {
		n.block.flying++
		blocks = append(blocks, n.block)
	}
	return blocks
}

// land lets the blocks of a member go that has ended.
func (b *belief) land(blocks []*block) {
	for _, k := range blocks {
		k.flying--
		b.tidy(k)
	}
	if len(blocks) > 0 && len(b.lists) < mostLists {
		clear(blocks)
		b.lists = append(b.lists, blocks[:0])
	}
}

// learn takes the answer to a prompt of these blocks, the last first, of which
// known were believed cached when it was sent, after so many answers, and the
// server found cachedBlocks: all of it is cached now.
func (b *belief) learn(blocks []*block, known int, answers uint64, cachedBlocks int) {
	if cachedBlocks < known {
		b.contradict(blocks[len(blocks)-1-cachedBlocks], answers)
	}
	b.answers++
	for _, k := range blocks {
		b.use(k)
	}
	b.shrink(b.limit)
}

// contradict drops a block that was thought cached after so many answers and was
// not, with all that was thought to be older: SGLang evicts the oldest first. A
// block that was used since is there again.
func (b *belief) contradict(missing *block, answers uint64) {
	if !missing.cached || missing.used > answers {
		return
	}
	for b.oldest != missing {
		b.evict(b.oldest)
	}
	b.evict(missing)
}

// forget drops everything cached, after a flush or a restart.
func (b *belief) forget() {
	b.shrink(0)
}

// shrink drops the oldest until at most limit blocks are cached.
func (b *belief) shrink(limit int) {
	for b.cached > limit {
		b.evict(b.oldest)
	}
}

// setLimit bounds the cached blocks.
func (b *belief) setLimit(limit int) {
	b.limit = limit
	b.shrink(limit)
}

// use makes k the newest cached block.
func (b *belief) use(k *block) {
	if k.cached {
		b.unlink(k)
	}
	k.cached, k.used = true, b.answers
	k.older, k.newer = b.newest, nil
	if b.newest == nil {
		b.oldest = k
	} else {
		b.newest.newer = k
	}
	b.newest = k
	b.cached++
}

func (b *belief) evict(k *block) {
	b.unlink(k)
	k.cached = false
	b.tidy(k)
}

func (b *belief) unlink(k *block) {
	if k.older == nil {
		b.oldest = k.newer
	} else {
		k.older.newer = k.newer
	}
	if k.newer == nil {
		b.newest = k.older
	} else {
		k.newer.older = k.older
	}
	k.older, k.newer = nil, nil
	b.cached--
}
