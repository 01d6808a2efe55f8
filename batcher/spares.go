package batcher

// mostSpares is how many unused segments are kept, and unused nodes of a group: a
// few MB.
const mostSpares = 1 << 14

// spares are unused ones of a kind that comes and goes with every prompt.
type spares[T any] []*T

// take returns one that is zero.
func (s *spares[T]) take() *T {
	last := len(*s) - 1
	if last < 0 {
		return new(T)
	}
	x := (*s)[last]
	(*s)[last], *s = nil, (*s)[:last]
	return x
}

// give takes one back that nothing refers to any more.
func (s *spares[T]) give(x *T) {
	var zero T
	if *x = zero; len(*s) < mostSpares {
		*s = append(*s, x)
	}
}
