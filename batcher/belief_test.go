package batcher

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// blockwise is a belief that keeps each block by itself.
type blockwise struct {
	oldestFirst []uint64
	used        map[uint64]uint64
	answers     uint64
}

func (m *blockwise) learn(p Prefix, known int, answers uint64, cachedBlocks int) {
	if cachedBlocks < known {
		missing := p[cachedBlocks]
		if at := slices.Index(m.oldestFirst, missing); at >= 0 && m.used[missing] <= answers {
			m.oldestFirst = m.oldestFirst[at+1:]
		}
	}
	m.answers++
	for _, name := range slices.Backward(p) {
		m.oldestFirst = slices.DeleteFunc(m.oldestFirst, func(n uint64) bool { return n == name })
		m.oldestFirst = append(m.oldestFirst, name)
		m.used[name] = m.answers
	}
}

func (m *blockwise) shrink(limit int) {
	m.oldestFirst = m.oldestFirst[max(0, len(m.oldestFirst)-limit):]
}

func (m *blockwise) known(p Prefix) (n int) {
	for n < len(p) && slices.Contains(m.oldestFirst, p[n]) {
		n++
	}
	return n
}

// checkTree checks what each node says of the requests at it and below.
func checkTree(t *rapid.T, q *queue, waiting []*waiter) {
	all, open, size := map[*node]int{}, map[*node]int{}, map[*node]int{}
	free := 0
	for _, w := range waiting {
		counts := true
		for n := w.node; n != nil; n = n.parent {
			all[n]++
			if counts {
				open[n]++
			}
			counts = counts && !n.held
		}
		if counts {
			free++
		}
	}
	for name, s := range q.belief.heads {
		if s.names[0] != name || s.parent != nil && s.parent.end() != s.start {
			t.Fatalf("segment %d is not where it should be: %+v", name, *s)
		}
		for n := s.nodes; n != nil; n = n.later {
			if s.node(n.group) != n || n.segment != s || n.held != (s.computing > 0) || s.parent != nil && n.parent != s.parent.node(n.group) {
				t.Fatalf("node %+v of segment %+v", *n, *s)
			}
			for m := n; m != nil; m = m.parent {
				size[m] += len(s.names)
			}
		}
	}
	for _, s := range q.belief.heads {
		for n := s.nodes; n != nil; n = n.later {
			if n.all != all[n] || n.open != open[n] || n.size != size[n] || n.linked != (n.open > 0 && !n.held) {
				t.Fatalf("node of %d, %d open, %d blocks: %+v", all[n], open[n], size[n], *n)
			}
		}
	}
	for _, l := range q.lanes {
		if l.open != free {
			t.Fatalf("%d of the lane are open, want %d", l.open, free)
		}
	}
}

// TestSegmentsBelieveWhatSingleBlocksWould sends prompts that share beginnings, several
// at once, some of which wait meanwhile, through the tree of segments and through a
// belief without one.
func TestSegmentsBelieveWhatSingleBlocksWould(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(0, 30).Draw(t, "limit")
		q, m := newQueue(limit), blockwise{used: map[uint64]uint64{}}
		type flight struct {
			p      Prefix
			member member[int, int]
			claims bool
		}
		var (
			waiting []*waiter
			flying  []flight
		)
		send := func(w *waiter) {
			known := w.node.segment.known()
			if want := m.known(w.prefix); known != want {
				t.Fatalf("%d blocks of one that waited are known, want %d", known, want)
			}
			f := flight{p: w.prefix, member: member[int, int]{last: q.belief.fly(w), known: known, answers: q.belief.answers}, claims: known < len(w.prefix)}
			q.remove(w)
			if f.claims {
				q.belief.begin(f.member.last.at(known))
			}
			flying = append(flying, f)
		}
		answer := func(i int) {
			f := flying[i]
			flying = slices.Delete(flying, i, i+1)
			cached := rapid.IntRange(0, len(f.p)).Draw(t, "cached")
			q.belief.learn(f.member.last, f.member.known, f.member.answers, cached)
			m.learn(f.p, f.member.known, f.member.answers, cached)
			m.shrink(limit)
			if f.claims {
				q.belief.end(f.member.last.at(f.member.known))
			}
			q.belief.land(f.member.last)
		}
		check := func() {
			p := drawPrefix(t, 12)
			if got, want := q.belief.known(p), m.known(p); got != want || q.belief.cached != len(m.oldestFirst) {
				t.Fatalf("%d blocks known of %d cached, want %d of %d", got, q.belief.cached, want, len(m.oldestFirst))
			}
			checkTree(t, &q, waiting)
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 7).Draw(t, "step") {
			case 0, 1, 2:
				who := q.callers.come(rapid.StringMatching("[a-l]").Draw(t, "caller"), 0)
				w := &waiter{prefix: drawPrefix(t, 12), caller: who}
				q.push(w, "", 0, false)
				waiting = append(waiting, w)
			case 3, 4:
				if len(waiting) > 0 {
					i := rapid.IntRange(0, len(waiting)-1).Draw(t, "which")
					w := waiting[i]
					waiting = slices.Delete(waiting, i, i+1)
					if rapid.IntRange(0, 3).Draw(t, "gone") == 0 {
						q.leave(w)
					} else {
						send(w)
					}
				}
			case 5:
				if len(flying) > 0 {
					answer(rapid.IntRange(0, len(flying)-1).Draw(t, "which"))
				}
			case 6:
				limit = rapid.IntRange(0, 30).Draw(t, "limit")
				q.belief.setLimit(limit)
				m.shrink(limit)
			case 7:
				if rapid.Bool().Draw(t, "flush") {
					q.belief.forget()
					m.shrink(0)
				}
			}
			check()
		}
		for _, w := range waiting {
			send(w)
		}
		for len(flying) > 0 {
			answer(0)
			check()
		}
		q.belief.forget()
		if len(q.belief.heads) != 0 || q.belief.cached != 0 || q.belief.oldest != nil || q.belief.newest != nil {
			t.Fatalf("left: %+v", q.belief)
		}
	})
}
