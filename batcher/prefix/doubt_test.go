package prefix

import (
	"testing"
	"time"
)

// answered sends a prompt alone, and has it answered.
func answered(m *Model, p Prefix, cached int) {
	g := m.NewGroup()
	e := &Entry{Prefix: p}
	g.Add(e)
	f := m.Send(e)
	m.Answer(&f, cached)
	m.Finish(&f)
}

// lately returns a model that has read three prompts, a second after one another, and its
// time, a second after the last.
func lately() (m *Model, now time.Time, older, old, young Prefix) {
	m, now = NewModel(100), time.Unix(1, 0)
	older, old, young = Prefix{1, 2}, Prefix{3, 4}, Prefix{5, 6}
	for _, p := range []Prefix{older, old, young} {
		m.SetTime(now)
		answered(m, p, 0)
		now = now.Add(time.Second)
	}
	m.SetTime(now)
	return m, now, older, old, young
}

func TestBlocksThatWereNotUsedLatelyAreInDoubt(t *testing.T) {
	m, now, older, old, young := lately()
	for _, p := range []Prefix{older, old, young} {
		if doubted, known := m.Known(p, true), m.Known(p, false); doubted != 0 || known != 2 {
			t.Errorf("%v: %d blocks beyond doubt, %d cached", p, doubted, known)
		}
	}
	answered(m, young, NotCounted)
	m.SetTime(now.Add(doubtAfter))
	if a, b := m.Known(young, true), m.Known(old, true); a != 2 || b != 0 {
		t.Errorf("%d and %d blocks beyond doubt: an answer without counts ends the doubt of its own prompt only", a, b)
	}
}

func TestABlockThatIsFoundCachedProvesForAWhileWhatWasUsedSince(t *testing.T) {
	m, now, older, old, young := lately()
	answered(m, old, 2)
	for _, c := range []struct {
		after time.Duration
		p     Prefix
		want  int
	}{{0, old, 2}, {0, young, 2}, {0, older, 0}, {doubtAfter, young, 2}, {doubtAfter + 1, young, 0}} {
		m.SetTime(now.Add(c.after))
		if n := m.Known(c.p, true); n != c.want {
			t.Errorf("%v, %v later: %d blocks beyond doubt, want %d", c.p, c.after, n, c.want)
		}
	}
}

func TestADoubtfulBlockThatIsNotFoundMakesAllOthersForgotten(t *testing.T) {
	m, now, older, old, young := lately()
	answered(m, old, 2)
	answered(m, young, 0)
	m.SetTime(now)
	if a, b := m.Known(older, false)+m.Known(old, false), m.Known(young, true); a != 0 || b != 2 {
		t.Errorf("%d blocks are still believed, and %d of the prompt itself, want 0 and 2", a, b)
	}
}
