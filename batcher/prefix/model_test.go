package prefix

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// blockwise is a model of single blocks.
type blockwise struct {
	oldestFirst []uint64
	used        map[uint64]uint64
	answers     uint64
}

func (m *blockwise) learn(p Prefix, known int, answers uint64, cachedBlocks, limit int) {
	if cachedBlocks < known {
		missing := p[cachedBlocks]
		if at := slices.Index(m.oldestFirst, missing); at >= 0 && m.used[missing] <= answers {
			emptied := len(m.oldestFirst) < limit
			m.oldestFirst = m.oldestFirst[at+1:]
			for emptied && len(m.oldestFirst) > 0 && m.used[m.oldestFirst[0]] <= answers {
				m.oldestFirst = m.oldestFirst[1:]
			}
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

// checkTree checks the counts of each node against its entries and those below.
func checkTree(t *rapid.T, m *Model, groups map[string]*Group, waiting []*Entry) {
	all, open, size := map[*node]int{}, map[*node]int{}, map[*node]int{}
	free := map[*Group]int{}
	for _, e := range waiting {
		counts := true
		for n := e.node; n != nil; n = n.parent {
			all[n]++
			if counts {
				open[n]++
			}
			counts = counts && !n.held
		}
		if counts {
			free[e.group]++
		}
	}
	for name, s := range m.segments {
		if s.names[0] != name || s.parent != nil && s.parent.end() != s.start {
			t.Fatalf("segment %d is not where it should be: %+v", name, *s)
		}
		for i, n := range s.nodes {
			if n.group.nodes[s] != n || n.segment != s || n.index != i || n.held != (s.computing > 0) ||
				s.parent != nil && n.parent != n.group.nodes[s.parent] {
				t.Fatalf("node %+v of segment %+v", *n, *s)
			}
			for m := n; m != nil; m = m.parent {
				size[m] += len(s.names)
			}
		}
	}
	for _, s := range m.segments {
		for _, n := range s.nodes {
			if n.all != all[n] || n.open != open[n] || n.size != size[n] || (n.link != nil) != (n.open > 0 && !n.held) {
				t.Fatalf("node of %d, %d open, %d blocks: %+v", all[n], open[n], size[n], *n)
			}
		}
	}
	for _, g := range groups {
		if g.Open() != free[g] {
			t.Fatalf("%d of the group are open, want %d", g.Open(), free[g])
		}
	}
}

// checkCached checks that only cached segments are left of prompts that have ended.
func checkCached(t *rapid.T, m *Model) {
	blocks := 0
	for name, s := range m.segments {
		if s.recency == nil || s.computing != 0 || s.inFlight != 0 || len(s.nodes) != 0 || s.names[0] != name {
			t.Fatalf("segment %d is left: %+v", name, *s)
		}
		if up := s.parent; s.start > 0 && (up == nil || m.segments[up.names[0]] != up || up.end() != s.start || up.used < s.used) {
			t.Fatalf("segment %+v stands under %+v", *s, up)
		}
		blocks += len(s.names)
	}
	if m.reserved != 0 {
		t.Fatalf("%d blocks are still reserved", m.reserved)
	}
	if m.cached != blocks || m.cached > m.limit {
		t.Fatalf("%d blocks, %d cached, limit %d", blocks, m.cached, m.limit)
	}
}

// draw draws a prompt of at most the given number of blocks, which shares beginnings with
// others.
func draw(t *rapid.T, blocks int) Prefix {
	var p Prefix
	name := uint64(1)
	for range rapid.IntRange(0, blocks).Draw(t, "blocks") {
		name = 10*name + rapid.SampledFrom([]uint64{0, 0, 0, 1}).Draw(t, "block")
		p = append(p, name)
	}
	return p
}

// TestSegmentsBelieveWhatSingleBlocksWould sends prompts that share beginnings, several at
// once while others wait, through the tree of segments and through a model of single
// blocks.
func TestSegmentsBelieveWhatSingleBlocksWould(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(0, 30).Draw(t, "limit")
		m, want := NewModel(limit), blockwise{used: map[uint64]uint64{}}
		type sent struct {
			p       Prefix
			known   int
			answers uint64
			f       InFlight
		}
		var (
			waiting  []*Entry
			inFlight []sent
			groups   = map[string]*Group{}
		)
		send := func(e *Entry) {
			known := m.Known(e.Prefix, false)
			if want := want.known(e.Prefix); known != want {
				t.Fatalf("%d blocks of one that waited are known, want %d", known, want)
			}
			inFlight = append(inFlight, sent{e.Prefix, known, m.answers, m.Send(e)})
		}
		answer := func(i int) {
			s := inFlight[i]
			inFlight = slices.Delete(inFlight, i, i+1)
			cached := rapid.IntRange(0, len(s.p)).Draw(t, "cached")
			m.Answer(&s.f, cached)
			if len(s.p) > 0 {
				want.learn(s.p, s.known, s.answers, cached, limit)
				want.shrink(limit)
			}
			m.Finish(&s.f)
		}
		check := func() {
			p := draw(t, 12)
			if got, want := m.Known(p, false), want.known(p); got != want {
				t.Fatalf("%d blocks are known, want %d", got, want)
			}
			if m.Cached() != len(want.oldestFirst) {
				t.Fatalf("%d blocks are cached, want %d", m.Cached(), len(want.oldestFirst))
			}
			checkTree(t, m, groups, waiting)
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 7).Draw(t, "step") {
			case 0, 1, 2:
				who := rapid.StringMatching("[a-l]").Draw(t, "caller")
				if groups[who] == nil {
					groups[who] = m.NewGroup()
				}
				e := &Entry{Prefix: draw(t, 12)}
				groups[who].Add(e)
				waiting = append(waiting, e)
			case 3, 4:
				if len(waiting) > 0 {
					i := rapid.IntRange(0, len(waiting)-1).Draw(t, "which")
					e := waiting[i]
					waiting = slices.Delete(waiting, i, i+1)
					if rapid.IntRange(0, 3).Draw(t, "gone") == 0 {
						e.group.Remove(e)
					} else {
						send(e)
					}
				}
			case 5:
				if len(inFlight) > 0 {
					answer(rapid.IntRange(0, len(inFlight)-1).Draw(t, "which"))
				}
			case 6:
				limit = rapid.IntRange(0, 30).Draw(t, "limit")
				m.SetLimit(limit)
				want.shrink(limit)
			case 7:
				if rapid.Bool().Draw(t, "flush") {
					m.Forget()
					want.shrink(0)
				}
			}
			check()
		}
		for _, e := range waiting {
			send(e)
		}
		waiting = nil
		for len(inFlight) > 0 {
			answer(0)
			check()
		}
		checkCached(t, m)
		m.Forget()
		if len(m.segments) != 0 || m.cached != 0 || m.recent.Len() != 0 {
			t.Fatalf("left: %+v", m)
		}
	})
}
