package batcher

import (
	"container/list"
	"maps"
	"slices"
	"time"

	"paceline/batcher/prefix"
)

// prompt is a waiting prompt. It is in three orders: in its lane by arrival, in the tree
// of its caller by prefix, and among the urgent prompts if it has a deadline.
type prompt[Q, R any] struct {
	items []*pending[Q, R] // the leader, whose caller and deadline are the prompt's, then its duplicates
	since time.Time        // when the first of them, which may have left, was accepted
	lane  *lane[Q, R]
	place *list.Element // in lane.prompts
	group *group
	entry prefix.Entry // in group; its Value is the prompt
}

// lane holds the waiting prompts that may share a batch.
type lane[Q, R any] struct {
	key      string
	priority int
	prompts  list.List // of *prompt, by arrival
	tokens   int64     // of all prompts
	bytes    int64
	urgent   urgent[Q, R]
	groups   []*group  // one for each caller
	released time.Time // when a batch was last taken from it
	crowded  bool      // no room in the server's cache for its open prompts; only during a release
}

// group holds the waiting prompts of one caller in a lane.
type group struct {
	*prefix.Group
	caller *caller
}

// queue holds all waiting prompts, by lane. Empty lanes and groups are removed.
type queue[Q, R any] struct {
	model   *prefix.Model
	lanes   []*lane[Q, R]
	leaders map[uint64]*prompt[Q, R] // by MergeKey.Hash; duplicates attach to them
	count   int                      // items, duplicates included
	bytes   int64                    // of all items
}

func newQueue[Q, R any](m *prefix.Model) queue[Q, R] {
	return queue[Q, R]{model: m, leaders: make(map[uint64]*prompt[Q, R])}
}

// push puts an item at the end of its lane, or, if merge is set and the item is a
// duplicate, attaches it to its leader. It reports whether the item is a new prompt.
func (q *queue[Q, R]) push(it *pending[Q, R], merge bool) bool {
	q.count++
	q.bytes += int64(it.Bytes)
	p := &prompt[Q, R]{items: []*pending[Q, R]{it}, since: it.accepted}
	if hash := it.MergeKey.Hash; merge && hash != 0 {
		switch other := q.leaders[hash]; {
		case other == nil:
			q.leaders[hash] = p
		case other.items[0].MergeKey.equal(&it.MergeKey):
			other.items = append(other.items, it)
			it.prompt = other
			return false
		}
	}
	it.prompt = p
	l := q.lane(it.Key, it.Priority)
	p.lane, p.place, p.group = l, l.prompts.PushBack(p), q.group(l, it.caller)
	p.entry = prefix.Entry{Prefix: it.Prefix, Value: p}
	p.group.Add(&p.entry)
	l.count(p, 1)
	return true
}

// leave removes one item from the queue. Its duplicates stay, and the oldest becomes the
// leader.
func (q *queue[Q, R]) leave(it *pending[Q, R]) {
	p := it.prompt
	if len(p.items) == 1 {
		p.group.Remove(&p.entry)
		q.remove(p)
		return
	}
	q.count--
	q.bytes -= int64(it.Bytes)
	p.lane.count(p, -1)
	i := slices.Index(p.items, it)
	p.items = slices.Delete(p.items, i, i+1)
	p.lane.count(p, 1)
}

// send removes a prompt from the queue and starts it in the prefix model.
func (q *queue[Q, R]) send(p *prompt[Q, R]) prefix.InFlight {
	f := q.model.Send(&p.entry)
	q.remove(p)
	return f
}

// remove removes a prompt with all its items. It must have left the tree of its group.
func (q *queue[Q, R]) remove(p *prompt[Q, R]) {
	for _, it := range p.items {
		q.count--
		q.bytes -= int64(it.Bytes)
		it.prompt = nil
	}
	l := p.lane
	if hash := p.items[0].MergeKey.Hash; q.leaders[hash] == p {
		delete(q.leaders, hash)
	}
	l.prompts.Remove(p.place)
	l.count(p, -1)
	if p.group.Len() == 0 {
		l.groups = slices.DeleteFunc(l.groups, func(g *group) bool { return g == p.group })
	}
	if l.prompts.Len() == 0 {
		q.lanes = slices.DeleteFunc(q.lanes, func(other *lane[Q, R]) bool { return other == l })
	}
}

// lane returns the lane of key. It makes one where there is none.
func (q *queue[Q, R]) lane(key string, priority int) *lane[Q, R] {
	for _, l := range q.lanes {
		if l.key == key {
			return l
		}
	}
	l := &lane[Q, R]{key: key, priority: priority}
	q.lanes = append(q.lanes, l)
	return l
}

// group returns the group of a caller. It makes one where there is none.
func (q *queue[Q, R]) group(l *lane[Q, R], who *caller) *group {
	for _, g := range l.groups {
		if g.caller == who {
			return g
		}
	}
	g := &group{q.model.NewGroup(), who}
	l.groups = append(l.groups, g)
	return g
}

// count adds (n is 1) or subtracts (-1) the leader of a prompt.
func (l *lane[Q, R]) count(p *prompt[Q, R], n int) {
	l.tokens += int64(n * p.items[0].Tokens)
	l.bytes += int64(n * p.items[0].Bytes)
	switch {
	case p.items[0].deadline.IsZero():
	case n > 0:
		l.urgent.add(p)
	default:
		l.urgent.remove(p)
	}
}

// open returns the number of prompts that are not held for another's prefix.
func (l *lane[Q, R]) open() (n int) {
	for _, g := range l.groups {
		n += g.Open()
	}
	return n
}

// neediest returns the group with open prompts whose caller was served least, or nil.
func (l *lane[Q, R]) neediest() *group {
	var least *group
	for _, g := range l.groups {
		if g.Open() > 0 && (least == nil || g.caller.attained < least.caller.attained) {
			least = g
		}
	}
	return least
}

// next returns the prompt to release next, or nil if all are held. With fifo it is the
// oldest. Otherwise it is that of the earliest deadline if that is not after urgent, and
// else the next in the walk through the prefixes of the neediest caller.
func (l *lane[Q, R]) next(fifo bool, urgent time.Time) *prompt[Q, R] {
	if fifo {
		return l.prompts.Front().Value.(*prompt[Q, R])
	}
	if len(l.urgent) > 0 && !l.urgent[0].items[0].deadline.After(urgent) {
		return l.urgent[0]
	}
	if g := l.neediest(); g != nil {
		return g.Next().Value.(*prompt[Q, R])
	}
	return nil
}

// urgent holds the waiting prompts that have a deadline, the earliest first.
type urgent[Q, R any] []*prompt[Q, R]

// find returns the index of the first deadline that is not before t.
func (u urgent[Q, R]) find(t time.Time) int {
	i, _ := slices.BinarySearchFunc(u, t, func(p *prompt[Q, R], t time.Time) int { return p.items[0].deadline.Compare(t) })
	return i
}

func (u *urgent[Q, R]) add(p *prompt[Q, R]) {
	*u = slices.Insert(*u, u.find(p.items[0].deadline), p)
}

func (u *urgent[Q, R]) remove(p *prompt[Q, R]) {
	i := u.find(p.items[0].deadline)
	i += slices.Index((*u)[i:], p)
	*u = slices.Delete(*u, i, i+1)
}

// caller is one of the callers that share the batcher. Each is served in proportion to its
// weight, measured in prompt tokens that the server had to compute. Of the callers with
// waiting prompts the least served goes first. It is guarded by Batcher.mu.
type caller struct {
	name     string
	weight   float64
	attained float64 // tokens computed for it, divided by its weight
	present  int     // its items that wait or are in flight
}

// callers holds every caller with work, and those that were served more than their share.
type callers struct {
	byName map[string]*caller
	level  float64 // attained of the caller that was served last
}

// maxCallers bounds the number of absent callers that are remembered. It is far more than
// share one server, and takes little memory.
const maxCallers = 4096

// join counts one more item of a caller. A caller that was absent starts level with the
// others: absence earns no credit.
func (c *callers) join(name string, weight float64) *caller {
	who := c.byName[name]
	if who == nil {
		if len(c.byName) >= maxCallers {
			maps.DeleteFunc(c.byName, func(_ string, other *caller) bool { return other.present == 0 })
		}
		who = &caller{name: name, attained: c.level}
		c.byName[name] = who
	}
	if who.present == 0 {
		who.attained = max(who.attained, c.level)
	}
	if who.weight = weight; weight <= 0 {
		who.weight = 1
	}
	who.present++
	return who
}

// leave undoes join. A caller without debt is forgotten at once.
func (c *callers) leave(who *caller) {
	who.present--
	if who.present == 0 && who.attained <= c.level {
		delete(c.byName, who.name)
	}
}

// serve charges a caller for tokens. A negative number refunds them.
func (c *callers) serve(who *caller, tokens float64) {
	if tokens > 0 {
		c.level = max(c.level, who.attained)
	}
	who.attained += tokens / who.weight
}
