package batcher

import "slices"

// Outcome is what became of some items that were sent together.
type Outcome uint8

// The outcomes.
const (
	Good Outcome = iota // all were answered
	Bad                 // refused because of at least one of them
	Stop                // nothing more can be found out
)

// Isolate finds the bad ones among items that were refused together, so that all
// others are answered and only the bad ones fail. try sends some of them
// together; blame is called for each item that was refused alone. guilty is an
// item that the server named, or -1. Items not tried when try says Stop are left.
//
// It searches a refused group by halves for one bad item, which takes about
// log2 n calls, then sends the rest together again, in smaller groups the more
// bad ones turned up: with many of them singly. An item is blamed only for a
// refusal of its own.
func Isolate(items []int, guilty int, try func([]int) Outcome, blame func(int)) {
	rest := items
	if guilty >= 0 {
		switch try([]int{guilty}) { // the server's word is not enough: it quotes what it was sent
		case Bad:
			blame(guilty)
		case Stop:
			return
		}
		rest = slices.DeleteFunc(slices.Clone(items), func(i int) bool { return i == guilty })
		if len(rest) == 0 || try(rest) != Bad {
			return
		}
	}
	size := len(items) // of the next group
	group, found := rest, 0
	rest = nil
	for {
		for len(group) > 1 {
			half := len(group) / 2
			switch try(group[:half]) {
			case Good:
				group = group[half:]
				if len(group) == 1 && try(group) != Bad {
					group = nil // it was no fault of an item
				}
			case Bad:
				rest = slices.Concat(group[half:], rest)
				group = group[:half]
			case Stop:
				return
			}
		}
		if len(group) == 1 {
			blame(group[0])
		}
		if found++; found > 1 {
			size = max(1, size/4)
		}
		for {
			if len(rest) == 0 {
				return
			}
			size = min(size, len(rest))
			group, rest = rest[:size:size], rest[size:]
			outcome := try(group)
			if outcome == Stop {
				return
			}
			if outcome == Bad {
				break
			}
			size *= 2
		}
	}
}
