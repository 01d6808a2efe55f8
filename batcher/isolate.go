package batcher

import "slices"

// Outcome is the result of sending some items together.
type Outcome uint8

// The outcomes.
const (
	Good Outcome = iota // all were answered
	Bad                 // refused because of at least one of them
	Stop                // the search ends: no further try can tell more
)

// Isolate finds the bad items among those that were refused together, so that only
// they fail and all others are answered. try sends some items together. blame is called
// for each item that was refused alone. When try says Stop, Isolate returns and leaves the
// items that it has not tried.
//
// It searches a refused group by halves for one bad item, in about log2 n calls, and
// then sends the rest together again. The more bad items it has found, the smaller are
// the groups, down to one. An item is blamed only for a refusal of its own.
func Isolate(items []int, try func([]int) Outcome, blame func(int)) {
	group := items     // refused together
	size := len(items) // of the next group
	var rest []int
	for found := 1; group != nil; found++ {
		bad, others, stopped := findBad(group, try)
		if stopped {
			return
		}
		for _, i := range bad {
			blame(i)
		}
		if found > 1 {
			size = max(1, size/4)
		}
		group, rest, size = nextBad(slices.Concat(others, rest), size, try)
	}
}

// findBad searches a refused group by halves. It returns its first bad item, if an item
// was to blame at all, and those that were not answered.
func findBad(group []int, try func([]int) Outcome) (bad, others []int, stopped bool) {
	for len(group) > 1 {
		half := len(group) / 2
		switch try(group[:half]) {
		case Good:
			group = group[half:]
			if len(group) == 1 && try(group) != Bad {
				return nil, others, false
			}
		case Bad:
			others = slices.Concat(group[half:], others)
			group = group[:half]
		case Stop:
			return nil, nil, true
		}
	}
	return group, others, false
}

// nextBad sends groups of the rest, each twice as large as the one before, and returns
// the first that is refused and its size; nil if there is none or try says Stop.
func nextBad(rest []int, size int, try func([]int) Outcome) (group, left []int, _ int) {
	for len(rest) > 0 {
		size = min(size, len(rest))
		group, rest = rest[:size:size], rest[size:]
		switch try(group) {
		case Bad:
			return group, rest, size
		case Stop:
			return nil, nil, 0
		}
		size *= 2
	}
	return nil, nil, 0
}
