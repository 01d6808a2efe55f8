package batcher

import "time"

// waiter is a request as the queue sees it, without its value. Requests that ask
// for the same are one prompt: the first stands in the queue, and the others,
// its twins, hang on it.
type waiter struct {
	entry    any // the *entry that it is part of
	bytes    int
	tokens   int
	same     Identity
	prefix   Prefix
	caller   *caller
	accepted time.Time
	deadline time.Time // zero: none

	lane       *lane     // while queued, of a first
	since      time.Time // when its place in the lane was taken
	prev, next *waiter   // neighbours in the lane, or among the twins
	first      *waiter   // of a twin: the one it hangs on
	twins      *waiter   // of a first: its youngest twin

	group         *group // of a first: where it stands in order of release
	node          *node
	before, after *waiter // neighbours at the node
	urgency       int     // 1 + its index in lane.urgent; 0: not there
}

// lane is the waiting requests that may share a batch, in order of arrival: a
// linked list, so that a request in the middle leaves at once.
type lane struct {
	key         string
	priority    int
	index       int // in queue.lanes
	count       int // prompts: twins count as one
	open        int // of these, not held for the sake of another's prefix
	tokens      int64
	bytes       int64
	first, last *waiter
	crowded     bool      // what is open here has no room in the server's cache now; only during a release
	released    time.Time // when a batch was last taken from it
	urgent      urgent    // those with a deadline
	groups      []*group  // by caller
	latest      *group    // used last
}

// queue is every waiting request, by lane. Lanes without requests don't exist.
type queue struct {
	byKey   map[string]*lane
	same    map[Identity]*waiter    // the first of each identity that waits
	alike   func(x, y *waiter) bool // where not nil, what must be so of two of one identity
	lanes   []*lane
	spare   *lane // the lane emptied last: one-lane traffic allocates none
	count   int
	bytes   int64
	belief  belief
	callers callers
}

func newQueue(prefixBlocks int) queue {
	return queue{
		byKey: make(map[string]*lane), same: make(map[Identity]*waiter), belief: newBelief(prefixBlocks),
		callers: callers{byName: make(map[string]*caller)},
	}
}

// push puts a request at the end of its lane, or hangs it on one that asks for
// the same, if merge says so.
func (q *queue) push(w *waiter, key string, priority int, merge bool) {
	q.count++
	q.bytes += int64(w.bytes)
	if merge && w.same != (Identity{}) {
		switch first := q.same[w.same]; {
		case first == nil:
			q.same[w.same] = w
		case q.alike == nil || q.alike(first, w):
			first.hang(w)
			return
		}
	}
	l := q.lane(key, priority)
	w.lane, w.since, w.prev, w.next = l, w.accepted, l.last, nil
	if l.last == nil {
		l.first = w
	} else {
		l.last.next = w
	}
	l.last = w
	l.count++
	l.tokens += int64(w.tokens)
	l.bytes += int64(w.bytes)
	w.group = l.group(w.caller)
	w.group.add(w, &q.belief)
	l.urgent.add(w)
}

// leave takes one request out of the queue. Its twins stay: the oldest takes
// over its place.
func (q *queue) leave(w *waiter) {
	defer q.callers.leave(w.caller)
	if w.first == nil && w.twins == nil {
		q.remove(w)
		return
	}
	q.count--
	q.bytes -= int64(w.bytes)
	if w.first != nil {
		w.first.unhang(w)
	} else {
		q.inherit(w.succeed(), w)
	}
}

// inherit puts the successor of a first in its place.
func (q *queue) inherit(heir, w *waiter) {
	l := w.lane
	heir.lane, heir.since, heir.prev, heir.next = l, w.since, w.prev, w.next
	if heir.prev == nil {
		l.first = heir
	} else {
		heir.prev.next = heir
	}
	if heir.next == nil {
		l.last = heir
	} else {
		heir.next.prev = heir
	}
	l.tokens += int64(heir.tokens - w.tokens)
	l.bytes += int64(heir.bytes - w.bytes)
	q.same[heir.same] = heir
	heir.group = w.group
	w.replace(heir)
	l.urgent.remove(w)
	l.urgent.add(heir)
	w.lane, w.group, w.prev, w.next = nil, nil, nil, nil
}

// remove takes a first, and its twins with it, out of the queue. Their callers
// stay present.
func (q *queue) remove(w *waiter) {
	l := w.lane
	if q.same[w.same] == w {
		delete(q.same, w.same)
	}
	for t := w.twins; t != nil; t = t.prev {
		q.count--
		q.bytes -= int64(t.bytes)
	}
	if w.prev == nil {
		l.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	l.urgent.remove(w)
	g := w.group
	g.remove(w, &q.belief)
	w.lane, w.group, w.prev, w.next = nil, nil, nil, nil
	l.count--
	l.tokens -= int64(w.tokens)
	l.bytes -= int64(w.bytes)
	q.count--
	q.bytes -= int64(w.bytes)
	if l.count == 0 {
		q.drop(l)
	} else if g.root.all == 0 {
		l.dropGroup(g)
	}
}

// pick is the request of a lane that should go next: of the caller who got
// least, the next in the walk through its prefixes. It is nil if all are held.
func (l *lane) pick() *waiter {
	if g := l.neediest(); g != nil {
		return g.next()
	}
	return nil
}

// attained is what the least served caller with open requests here has got.
func (l *lane) attained() float64 {
	if g := l.neediest(); g != nil {
		return g.caller.attained
	}
	return 0
}

// neediest is the group, of those with open requests, whose caller got least.
func (l *lane) neediest() *group {
	var least *group
	for _, g := range l.groups {
		if g.root.open > 0 && (least == nil || g.caller.attained < least.caller.attained) {
			least = g
		}
	}
	return least
}

// lane returns the lane of key, making it where there is none.
func (q *queue) lane(key string, priority int) *lane {
	if l := q.byKey[key]; l != nil {
		return l
	}
	l := q.spare
	if l == nil {
		l = new(lane)
	}
	q.spare = nil
	l.key, l.priority, l.index, l.released = key, priority, len(q.lanes), time.Time{}
	q.lanes = append(q.lanes, l)
	q.byKey[key] = l
	return l
}

// drop forgets an empty lane. Its one group is kept for the next that comes.
func (q *queue) drop(l *lane) {
	last := len(q.lanes) - 1
	q.lanes[l.index] = q.lanes[last]
	q.lanes[l.index].index = l.index
	q.lanes[last] = nil
	q.lanes = q.lanes[:last]
	delete(q.byKey, l.key)
	for len(l.groups) > 1 {
		l.dropGroup(l.groups[len(l.groups)-1])
	}
	q.spare = l
}

// group returns the group of a caller, making it where there is none.
func (l *lane) group(who *caller) *group {
	if l.latest != nil && l.latest.caller == who {
		return l.latest
	}
	for _, g := range l.groups {
		if g.caller == who {
			l.latest = g
			return g
		}
	}
	var g *group
	if len(l.groups) == 1 && l.groups[0].root.all == 0 { // left by the lane's last use
		g = l.groups[0]
		g.caller = who
	} else {
		g = &group{caller: who, lane: l, index: len(l.groups)}
		g.root.group = g
		l.groups = append(l.groups, g)
	}
	l.latest = g
	return g
}

func (l *lane) dropGroup(g *group) {
	last := len(l.groups) - 1
	l.groups[g.index] = l.groups[last]
	l.groups[g.index].index = g.index
	l.groups[last] = nil
	l.groups = l.groups[:last]
	if l.latest == g {
		l.latest = nil
	}
}

// hang makes w a twin of first.
func (first *waiter) hang(w *waiter) {
	w.first, w.prev, w.next = first, first.twins, nil
	if first.twins != nil {
		first.twins.next = w
	}
	first.twins = w
}

// unhang takes a twin off first.
func (first *waiter) unhang(w *waiter) {
	if w.prev != nil {
		w.prev.next = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		first.twins = w.prev
	}
	w.first, w.prev, w.next = nil, nil, nil
}

// succeed makes the oldest twin the first of the others, and returns it.
func (first *waiter) succeed() *waiter {
	heir := first.twins
	for heir.prev != nil {
		heir = heir.prev
	}
	first.unhang(heir)
	heir.twins, first.twins = first.twins, nil
	for t := heir.twins; t != nil; t = t.prev {
		t.first = heir
	}
	return heir
}
