package prefix

import "testing"

func TestACollisionOfNamesEnds(t *testing.T) {
	m := NewModel(10)
	g := m.NewGroup()
	a, c, b := &Entry{Prefix: Prefix{7}}, &Entry{Prefix: Prefix{1}}, &Entry{Prefix: Prefix{1, 7}}
	g.Add(a)
	g.Add(c)
	g.Add(b) // the second block's name is that of a's first
	for _, e := range []*Entry{b, c, a} {
		f := m.Send(e)
		m.Answer(&f, 0)
		m.Finish(&f)
	}
	m.Forget()
	if len(m.segments) != 0 || m.Reserved() != 0 {
		t.Errorf("left: %d segments, %d reserved", len(m.segments), m.Reserved())
	}
}
