package batcher

import (
	"context"
	"time"
)

// entry is one accepted request, from Submit to its end. It is reachable from
// exactly one place, a lane or a batch, and from none once it has ended; so it
// can be reused as soon as Submit returns. Guarded by Batcher.mu, except that
// the fields of the end belong to Submit once ended has been signalled.
type entry[Q, R any] struct {
	ctx      context.Context
	req      Request[Q]
	accepted time.Time

	lane       *lane[Q, R]  // while queued
	prev, next *entry[Q, R] // neighbours in the lane
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
	count       int
	first, last *entry[Q, R]
}

// queue is every waiting request, by lane. Lanes without requests don't exist.
type queue[Q, R any] struct {
	byKey map[string]*lane[Q, R]
	lanes []*lane[Q, R]
	spare *lane[Q, R] // the lane emptied last: one-lane traffic allocates none
	count int
	bytes int64
}

func (q *queue[Q, R]) push(e *entry[Q, R]) {
	l := q.lane(e.req.Key)
	e.lane, e.prev, e.next = l, l.last, nil
	if l.last == nil {
		l.first = e
	} else {
		l.last.next = e
	}
	l.last = e
	l.count++
	q.count++
	q.bytes += int64(e.req.Bytes)
}

func (q *queue[Q, R]) remove(e *entry[Q, R]) {
	l := e.lane
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
