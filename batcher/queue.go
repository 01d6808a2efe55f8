package batcher

import (
	"context"
	"time"
)

// entry is one accepted request, from Submit to its end. It is reachable from
// exactly one place, a lane or a batch, and from none once it has ended; so it
// can be reused as soon as Submit returns. Guarded by Batcher.mu, except that
// the fields of the end belong to Submit once ended has been signalled.
//
// Requests that ask for the same are one prompt to the server: the first stands
// in the lane, or in the batch, and the others, its twins, hang on it.
type entry[Q, R any] struct {
	ctx      context.Context
	req      Request[Q]
	accepted time.Time

	lane       *lane[Q, R]  // while queued, of a first
	since      time.Time    // when its place in the lane was taken
	prev, next *entry[Q, R] // neighbours in the lane, or among the twins
	first      *entry[Q, R] // of a twin: the entry it hangs on
	twins      *entry[Q, R] // of a first: its youngest twin
	batch      *Batch[Q, R] // while in flight

	ended   chan struct{} // one signal, buffered, when result or err is set
	result  R
	err     error
	receipt Receipt
}

// lane is a queue of requests that may share a batch, in order of arrival, as
// a linked list so that a request in the middle leaves at once.
type lane[Q, R any] struct {
	key         string
	index       int // in queue.lanes
	count       int // prompts: twins count as one
	tokens      int64
	bytes       int64
	first, last *entry[Q, R]
}

// queue is every waiting request, by lane. Lanes without requests don't exist.
type queue[Q, R any] struct {
	byKey map[string]*lane[Q, R]
	same  map[Identity]*entry[Q, R] // the first of each identity that waits
	lanes []*lane[Q, R]
	spare *lane[Q, R] // the lane emptied last: one-lane traffic allocates none
	count int
	bytes int64
}

// push puts a request at the end of its lane, or hangs it on one that asks for
// the same, if merge says so.
func (q *queue[Q, R]) push(e *entry[Q, R], merge bool) {
	q.count++
	q.bytes += int64(e.req.Bytes)
	if merge && e.req.Same != (Identity{}) {
		if first := q.same[e.req.Same]; first != nil {
			first.hang(e)
			return
		}
		q.same[e.req.Same] = e
	}
	l := q.lane(e.req.Key)
	e.lane, e.since, e.prev, e.next = l, e.accepted, l.last, nil
	if l.last == nil {
		l.first = e
	} else {
		l.last.next = e
	}
	l.last = e
	l.count++
	l.tokens += int64(e.req.Tokens)
	l.bytes += int64(e.req.Bytes)
}

// leave takes one request out of the queue. Its twins stay: the oldest takes
// over its place in the lane.
func (q *queue[Q, R]) leave(e *entry[Q, R]) {
	switch {
	case e.first != nil:
		e.first.unhang(e)
		q.count--
		q.bytes -= int64(e.req.Bytes)
	case e.twins != nil:
		heir := e.oldestTwin()
		e.unhang(heir)
		q.count--
		q.bytes -= int64(e.req.Bytes)
		q.inherit(heir, e)
	default:
		q.remove(e)
	}
}

// inherit puts a twin in the place of its first.
func (q *queue[Q, R]) inherit(heir, e *entry[Q, R]) {
	l := e.lane
	heir.lane, heir.since, heir.prev, heir.next, heir.twins = l, e.since, e.prev, e.next, e.twins
	for t := heir.twins; t != nil; t = t.prev {
		t.first = heir
	}
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
	q.same[heir.req.Same] = heir
	e.lane, e.prev, e.next, e.twins = nil, nil, nil, nil
}

// remove takes a first, and its twins with it, out of the queue.
func (q *queue[Q, R]) remove(e *entry[Q, R]) {
	l := e.lane
	if q.same[e.req.Same] == e {
		delete(q.same, e.req.Same)
	}
	for t := e.twins; t != nil; t = t.prev {
		q.count--
		q.bytes -= int64(t.req.Bytes)
	}
	if e.prev == nil {
		l.first = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		l.last = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.lane, e.prev, e.next = nil, nil, nil
	l.count--
	l.tokens -= int64(e.req.Tokens)
	l.bytes -= int64(e.req.Bytes)
	q.count--
	q.bytes -= int64(e.req.Bytes)
	if l.count == 0 {
		q.drop(l)
	}
}

// lane returns the lane of key, making it where there is none.
func (q *queue[Q, R]) lane(key string) *lane[Q, R] {
	if l := q.byKey[key]; l != nil {
		return l
	}
	l := q.spare
	if l == nil {
		l = new(lane[Q, R])
	}
	q.spare = nil
	l.key, l.index = key, len(q.lanes)
	q.lanes = append(q.lanes, l)
	q.byKey[key] = l
	return l
}

func (q *queue[Q, R]) drop(l *lane[Q, R]) {
	last := len(q.lanes) - 1
	q.lanes[l.index] = q.lanes[last]
	q.lanes[l.index].index = l.index
	q.lanes[last] = nil
	q.lanes = q.lanes[:last]
	delete(q.byKey, l.key)
	q.spare = l
}

// hang makes e a twin of first.
func (first *entry[Q, R]) hang(e *entry[Q, R]) {
	e.first, e.prev, e.next = first, first.twins, nil
	if first.twins != nil {
		first.twins.next = e
	}
	first.twins = e
}

// unhang takes a twin off first.
func (first *entry[Q, R]) unhang(e *entry[Q, R]) {
	if e.prev != nil {
		e.prev.next = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		first.twins = e.prev
	}
	e.first, e.prev, e.next = nil, nil, nil
}

func (first *entry[Q, R]) oldestTwin() *entry[Q, R] {
	t := first.twins
	for t.prev != nil {
		t = t.prev
	}
	return t
}
