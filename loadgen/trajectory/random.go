package trajectory

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
)

// stream is one sequence of random numbers. Everything drawn from it is an
// integer, and drawn by this file alone, so that a seed gives the same
// sequence on every machine and with every version of Go: of the library it
// uses only PCG's 64-bit output, whose algorithm is fixed.
type stream struct {
	pcg *rand.PCG
}

// newStream seeds a stream from a hash of its three names. Each field of each
// trajectory has a stream of its own: changing how one is drawn leaves the
// others as they were.
func newStream(seed uint64, id, field string) stream {
	name := binary.LittleEndian.AppendUint64(nil, seed)
	name = append(name, id+"\x00"+field...)
	hash := sha256.Sum256(name)
	return stream{rand.NewPCG(binary.LittleEndian.Uint64(hash[:8]), binary.LittleEndian.Uint64(hash[8:16]))}
}

// below draws from 0 to n-1. Its bias is under n/2⁶⁴.
func (s stream) below(n int) int {
	high, _ := bits.Mul64(s.pcg.Uint64(), uint64(n))
	return int(high)
}

// chance is true in percent of a hundred cases.
func (s stream) chance(percent int) bool {
	return s.below(100) < percent
}

// pick draws one of the words.
func (s stream) pick(words []string) string {
	return words[s.below(len(words))]
}

// one is the unit of numbers with a fixed binary point.
const one = 1 << 16

// normal draws a standard normal deviate in units of 1/one, as the sum of
// twelve uniform ones. That ends at ±6 and thins the tails a little: the mean
// of a lognormal with sigma 1.35 comes out 1.3 % low.
func (s stream) normal() int64 {
	const mean = 12 * (one - 1) / 2
	sum := int64(0)
	for range 3 {
		for v, i := s.pcg.Uint64(), 0; i < 4; i++ {
			sum += int64(v & (one - 1))
			v >>= 16
		}
	}
	return sum - mean
}
