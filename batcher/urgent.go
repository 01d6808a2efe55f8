package batcher

import (
	"container/heap"
	"time"
)

// urgent is the waiting requests that have a deadline, as a binary heap with the
// earliest on top. Those without one don't stand in it and cost nothing.
type urgent []*waiter

// earliest is the earliest deadline, or zero.
func (u urgent) earliest() time.Time {
	if len(u) == 0 {
		return time.Time{}
	}
	return u[0].deadline
}

// before is the request with the earliest deadline, if that is not after t, or
// nil.
func (u urgent) before(t time.Time) *waiter {
	if len(u) == 0 || u[0].deadline.After(t) {
		return nil
	}
	return u[0]
}

func (u *urgent) add(w *waiter) {
	if !w.deadline.IsZero() {
		heap.Push(u, w)
	}
}

func (u *urgent) remove(w *waiter) {
	if w.urgency > 0 {
		heap.Remove(u, w.urgency-1)
	}
}

// The methods of heap.Interface.

func (u urgent) Len() int           { return len(u) }
func (u urgent) Less(i, j int) bool { return u[i].deadline.Before(u[j].deadline) }

func (u urgent) Swap(i, j int) {
	u[i], u[j] = u[j], u[i]
	u[i].urgency, u[j].urgency = i+1, j+1
}

func (u *urgent) Push(w any) {
	*u = append(*u, w.(*waiter))
	(*u)[len(*u)-1].urgency = len(*u)
}

func (u *urgent) Pop() any {
	h, last := *u, len(*u)-1
	w := h[last]
	w.urgency, h[last], *u = 0, nil, h[:last]
	return w
}
