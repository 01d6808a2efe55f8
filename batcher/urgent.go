package batcher

import "time"

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
	if w.deadline.IsZero() {
		return
	}
	*u = append(*u, w)
	w.urgency = len(*u)
	u.up(len(*u) - 1)
}

func (u *urgent) remove(w *waiter) {
	if w.urgency == 0 {
		return
	}
	h, i := *u, w.urgency-1
	last := len(h) - 1
	u.swap(i, last)
	h[last], *u = nil, h[:last]
	w.urgency = 0
	if i < last {
		u.down(i)
		u.up(i)
	}
}

func (u urgent) swap(i, j int) {
	u[i], u[j] = u[j], u[i]
	u[i].urgency, u[j].urgency = i+1, j+1
}

func (u urgent) up(i int) {
	for i > 0 {
		above := (i - 1) / 2
		if !u[i].deadline.Before(u[above].deadline) {
			return
		}
		u.swap(i, above)
		i = above
	}
}

func (u urgent) down(i int) {
	for {
		least := i
		for _, c := range []int{2*i + 1, 2*i + 2} {
			if c < len(u) && u[c].deadline.Before(u[least].deadline) {
				least = c
			}
		}
		if least == i {
			return
		}
		u.swap(i, least)
		i = least
	}
}
