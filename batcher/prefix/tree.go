package prefix

import (
	"container/list"
	"slices"
)

// Entry is a waiting prompt's place in the tree of a Group.
type Entry struct {
	Prefix Prefix
	Value  any // of the owner

	group *Group
	node  *node
	place *list.Element // in node.entries
}

// Group holds the waiting prompts of one caller in one lane, as a tree of their prefixes.
// Next walks it depth first, so that prompts that share cached tokens go together, the
// shortest of a branch first.
type Group struct {
	model  *Model
	nodes  map[*segment]*node
	root   node
	cursor *node // where the walk is
}

// node is one segment of waiting prompts. A prompt is an entry of the node of its last
// segment. A node is held while its first block is computed for another prompt: SGLang
// shares nothing new within one forward (measured on 0.5.23), so the entries here and
// below go after that.
type node struct {
	group   *Group
	segment *segment // nil at the root
	index   int      // in segment.nodes
	parent  *node
	held    bool
	all     int // entries here and below; a node exists while there are any
	open    int // of these, entries that no held node below this one keeps
	size    int // blocks here and below

	// reserved is the number of blocks that are set aside in the server's cache for
	// the entries here and below: see Model.Room.
	reserved int

	entries  list.List     // of *Entry that end here, by arrival
	children list.List     // of *node that lead to open entries: the last freed first, then by arrival
	link     *list.Element // in parent.children; nil: leads to no open entry
}

// NewGroup returns a group without entries.
func (m *Model) NewGroup() *Group {
	g := &Group{model: m, nodes: make(map[*segment]*node)}
	g.cursor = &g.root
	return g
}

// Len returns the number of entries.
func (g *Group) Len() int { return g.root.all }

// Open returns the number of entries that are not held.
func (g *Group) Open() int { return g.root.open }

// Add puts an entry into the tree, after others of the same prefix.
func (g *Group) Add(e *Entry) {
	n := &g.root
	for at := 0; at < len(e.Prefix); at = n.segment.end() {
		s := g.model.segment(e.Prefix, at, n.segment)
		if s == nil {
			e.Prefix = e.Prefix[:at] // a collision: the rest has no name
			break
		}
		n = g.child(n, s)
	}
	e.group, e.node, e.place = g, n, n.entries.PushBack(e)
	grown := 0 // blocks of new nodes, which are the last of the path
	for m := n; m != nil; m = m.parent {
		if m.all == 0 && m.segment != nil {
			grown += len(m.segment.names)
		}
		m.all++
		m.size += grown
		if m.reserved > 0 {
			m.reserved += grown
			g.model.reserved += grown
		}
	}
	n.opened(1, false)
}

// child returns the node of a segment under n. It makes one where there is none.
func (g *Group) child(n *node, s *segment) *node {
	c := g.nodes[s]
	if c == nil {
		c = &node{group: g, parent: n, held: s.computing > 0}
		c.attach(s)
	}
	return c
}

// Remove takes an entry out of the tree.
func (g *Group) Remove(e *Entry) {
	n := e.node
	n.entries.Remove(e.place)
	e.group, e.node, e.place = nil, nil, nil
	n.opened(-1, false)
	gone := 0 // blocks of nodes that were dropped
	for n != nil {
		above := n.parent
		n.all--
		n.size -= gone
		if n.all == 0 && above != nil {
			gone += len(n.segment.names)
			g.drop(n)
		}
		n = above
	}
}

// Held reports whether the entry waits for a prompt in flight, and returns the Value of the
// entry that this was.
func (e *Entry) Held() (leader any, held bool) {
	for n := e.node; n != nil; n = n.parent {
		if n.held {
			return n.segment.leader, true
		}
	}
	return nil, false
}

// Next returns the next entry of the walk, or nil if all are held.
func (g *Group) Next() *Entry {
	var from *node // the deepest node on the way up that leads to an open entry
	for n := g.cursor; n != nil; n = n.parent {
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
	for from.entries.Len() == 0 {
		from = from.children.Front().Value.(*node)
	}
	g.cursor = from
	return from.entries.Front().Value.(*Entry)
}

// Room returns how many blocks of the server's cache must be set aside to send e: its own
// new blocks, and those of the entries below it, which will find it cached. It is 0 if an
// entry above has set them aside.
func (m *Model) Room(e *Entry) int {
	for n := e.node; n != nil; n = n.parent {
		if n.reserved > 0 {
			return 0
		}
	}
	if e.node.segment == nil {
		return 0 // too short to have a name
	}
	return len(e.Prefix) - m.Known(e.Prefix, false) + e.node.size - len(e.node.segment.names)
}

// attach makes n the node of its group for s.
func (n *node) attach(s *segment) {
	n.segment, n.index = s, len(s.nodes)
	s.nodes = append(s.nodes, n)
	n.group.nodes[s] = n
}

// drop removes a node without entries here and below.
func (g *Group) drop(n *node) {
	if g.cursor == n {
		g.cursor = n.parent
	}
	g.model.reserved -= n.reserved
	s := n.segment
	last := s.nodes[len(s.nodes)-1]
	s.nodes[n.index], last.index = last, n.index
	s.nodes = slices.Delete(s.nodes, len(s.nodes)-1, len(s.nodes))
	delete(g.nodes, s)
	g.model.tidy(s)
}

// split makes a node for upper, the new upper part of n's segment. The new node takes the
// place of n, and n becomes its child with all its entries.
func (n *node) split(upper *segment) {
	u := &node{group: n.group, parent: n.parent, held: n.held, all: n.all, open: n.open, size: n.size, link: n.link}
	u.attach(upper)
	if u.link != nil {
		u.link.Value = u
	}
	n.parent, n.held, n.link = u, false, nil
	n.size -= len(upper.names)
	n.relink(false)
}

// opened counts d more open entries, here and above. With front they go before all
// others.
func (n *node) opened(d int, front bool) {
	for ; n != nil; n = n.parent {
		n.open += d
		n.relink(front)
		if n.held {
			return
		}
	}
}

// hold holds the entries here and below.
func (n *node) hold() {
	if !n.held {
		n.held = true
		n.relink(false)
		n.parent.opened(-n.open, false)
	}
}

// free undoes hold, and the walk continues here.
func (n *node) free() {
	if n.held {
		n.held = false
		n.relink(true)
		n.parent.opened(n.open, true)
		n.group.cursor = n
	}
}

// relink keeps n among its parent's children exactly while it leads to open entries.
func (n *node) relink(front bool) {
	leads := n.open > 0 && !n.held
	switch p := n.parent; {
	case p == nil || leads == (n.link != nil):
	case !leads:
		p.children.Remove(n.link)
		n.link = nil
	case front:
		n.link = p.children.PushFront(n)
	default:
		n.link = p.children.PushBack(n)
	}
}
