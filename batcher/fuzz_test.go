package batcher

import (
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

// FuzzArrivals drives the law of the package with arrivals, cancellations,
// faults and settings that the fuzzer makes out of bytes.
func FuzzArrivals(f *testing.F) {
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		rapid.MakeFuzz(func(rt *rapid.T) { inBubble(t, rt, law) })(t, data)
	})
}

// FuzzIsolate looks for lists in which a bad item is missed or a good one blamed.
func FuzzIsolate(f *testing.F) {
	f.Add(uint8(16), uint64(1<<5))
	f.Add(uint8(16), uint64(0xff))
	f.Fuzz(func(t *testing.T, n uint8, bad uint64) {
		items := int(n)%64 + 2
		isBad := func(i int) bool { return bad>>i&1 == 1 }
		if bad&(1<<items-1) == 0 {
			return // nothing to find
		}
		blamed, _, answered := search(items, isBad)
		for _, i := range blamed {
			if !isBad(i) {
				t.Errorf("item %d was blamed", i)
			}
		}
		for i := range items {
			if !isBad(i) && answered[i] != 1 {
				t.Errorf("item %d was answered %d times", i, answered[i])
			}
		}
	})
}

// inBubble checks a property in virtual time. rapid fails and shrinks by panics,
// which must not end the bubble.
func inBubble(t *testing.T, rt *rapid.T, property func(*rapid.T)) {
	var failure any
	synctest.Test(t, func(*testing.T) {
		defer func() { failure = recover() }()
		property(rt)
	})
	if failure != nil {
		panic(failure)
	}
}
