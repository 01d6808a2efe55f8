package batcher

// group is the waiting requests of one caller in one lane, as a tree of their
// prefixes. The next one to go is the next of a walk through the tree in depth,
// so that requests that share cached tokens go together, the shortest of a
// branch first.
type group struct {
	caller *caller
	lane   *lane
	index  int // in lane.groups
	root   node
	cursor *node // where the walk is; nil at the root
	spares spares[node]
}

// node is one segment of waiting prompts. Requests stand at the node of the last
// of their segments. A node is held while its first block is computed for another
// request: SGLang shares nothing new within one forward (measured on 0.5.23), so
// what stands here and below had better come after that.
type node struct {
	group   *group
	segment *segment // nil at the root
	parent  *node
	held    bool
	all     int // requests here and below: a node exists while there are any
	open    int // of these, requests that no held node below this one keeps
	size    int // blocks here and below

	// What is set aside in the server's cache for the requests here and below,
	// in blocks: see room.
	reserved int

	first, last *waiter // requests that end here, by arrival

	// Children through which open requests are reached: those freed last come
	// first, then in the order in which they came.
	child, lastChild *node
	left, right      *node // neighbours among the parent's children
	linked           bool

	earlier, later *node // neighbours among the nodes of one segment
}

// add puts a request into the tree, at the end of its prefix.
func (g *group) add(w *waiter, b *belief) {
	n := &g.root
	n.all++
	for at := 0; at < len(w.prefix); at += len(n.segment.names) {
		n = g.below(n, b.segment(w.prefix, at, n.segment), b)
		n.all++
	}
	grown := 0 // blocks of new nodes: all of them at the end
	for m := n; m != nil; m = m.parent {
		if m.size == 0 && m.parent != nil {
			grown += len(m.segment.names)
		}
		m.size += grown
		if m.reserved > 0 {
			m.reserved += grown
			b.reserved += grown
		}
	}
	w.node, w.before, w.after = n, n.last, nil
	if n.last == nil {
		n.first = w
	} else {
		n.last.after = w
	}
	n.last = w
	n.opened(1, false)
}

// below returns the node of a segment under n, making it where there is none.
func (g *group) below(n *node, s *segment, b *belief) *node {
	if c := s.node(g); c != nil {
		return c
	}
	c := g.spares.take()
	c.group, c.parent, c.held = g, n, s.computing > 0
	if c.held {
		b.holds++
	}
	s.attach(c)
	return c
}

// split parts n, whose segment is parted after so many blocks, and returns the node
// of the upper part, which takes its place. The requests at n stay there.
func (n *node) split(blocks int) *node {
	u := n.group.spares.take()
	u.group, u.parent, u.held, u.all, u.open, u.size = n.group, n.parent, n.held, n.all, n.open, n.size
	if n.linked {
		n.standIn(u)
	}
	n.parent, n.held = u, false
	n.size -= blocks
	n.relink(false)
	return u
}

// standIn puts u in n's place among the parent's children.
func (n *node) standIn(u *node) {
	u.left, u.right, u.linked = n.left, n.right, true
	if u.left == nil {
		u.parent.child = u
	} else {
		u.left.right = u
	}
	if u.right == nil {
		u.parent.lastChild = u
	} else {
		u.right.left = u
	}
	n.left, n.right, n.linked = nil, nil, false
}

// remove takes a request out of the tree.
func (g *group) remove(w *waiter, b *belief) {
	n := w.node
	if w.before == nil {
		n.first = w.after
	} else {
		w.before.after = w.after
	}
	if w.after == nil {
		n.last = w.before
	} else {
		w.after.before = w.before
	}
	w.node, w.before, w.after = nil, nil, nil
	n.opened(-1, false)
	for gone := 0; n != nil; {
		above := n.parent
		if n.all--; n.all == 0 && above != nil {
			gone += len(n.segment.names)
			g.drop(n, b)
		} else {
			n.size -= gone
		}
		n = above
	}
}

// drop forgets a node that nobody stands under.
func (g *group) drop(n *node, b *belief) {
	if g.cursor == n {
		g.cursor = n.parent
	}
	b.reserved -= n.reserved
	n.segment.detach(n)
	b.tidy(n.segment)
	g.spares.give(n)
}

// room is how many blocks of the server's cache must be set aside for a request
// to be taken: its own new ones, and those of the requests that stand below it,
// which are to find it cached. It is 0 if an earlier one on its way set them
// aside.
func (w *waiter) room(known int) int {
	for n := w.node; n != nil; n = n.parent {
		if n.reserved > 0 {
			return 0
		}
	}
	if w.node.parent == nil {
		return 0 // too short to be named
	}
	return len(w.prefix) - known + w.node.size - len(w.node.segment.names)
}

// replace puts one request in the place of another that has the same prefix.
func (w *waiter) replace(heir *waiter) {
	heir.node, heir.before, heir.after = w.node, w.before, w.after
	if w.before == nil {
		w.node.first = heir
	} else {
		w.before.after = heir
	}
	if w.after == nil {
		w.node.last = heir
	} else {
		w.after.before = heir
	}
	w.node, w.before, w.after = nil, nil, nil
}

// next is the next request of the walk, or nil if all are held.
func (g *group) next() *waiter {
	var from *node // the deepest node on the way up that leads to an open request
	for n := g.at(); n != nil; n = n.parent {
		switch {
		case n.held:
			from = nil
		case from == nil && n.open > 0:
			from = n
		}
	}
	if from == nil {
		return nil
	}
	for from.first == nil {
		from = from.child
	}
	g.cursor = from
	return from.first
}

func (g *group) at() *node {
	if g.cursor == nil {
		return &g.root
	}
	return g.cursor
}

// opened counts d more requests that can go, here and above. With front they
// are reached before all others.
func (n *node) opened(d int, front bool) {
	for {
		n.open += d
		n.relink(front)
		switch {
		case n.held:
			return
		case n.parent == nil:
			n.group.lane.open += d
			return
		}
		n = n.parent
	}
}

// hold keeps what stands here and below from going.
func (n *node) hold() {
	if n.held {
		return
	}
	n.held = true
	n.relink(false)
	n.parent.opened(-n.open, false)
}

// free undoes hold, and continues the walk here.
func (n *node) free() {
	if !n.held {
		return
	}
	n.held = false
	n.relink(true)
	n.parent.opened(n.open, true)
	n.group.cursor = n
}

// relink keeps n among its parent's children exactly while it leads somewhere.
func (n *node) relink(front bool) {
	p := n.parent
	if p == nil || n.linked == (n.open > 0 && !n.held) {
		return
	}
	if n.linked {
		n.unlink(p)
		return
	}
	n.linked = true
	switch {
	case p.child == nil:
		p.child, p.lastChild = n, n
	case front:
		n.right, p.child.left, p.child = p.child, n, n
	default:
		n.left, p.lastChild.right, p.lastChild = p.lastChild, n, n
	}
}

func (n *node) unlink(p *node) {
	if n.left == nil {
		p.child = n.right
	} else {
		n.left.right = n.right
	}
	if n.right == nil {
		p.lastChild = n.left
	} else {
		n.right.left = n.left
	}
	n.left, n.right, n.linked = nil, nil, false
}
