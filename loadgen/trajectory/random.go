package trajectory

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/bits"
	"math/rand/v2"
)

// stream is a sequence of random numbers. A seed gives the same sequence on every machine and with every
// version of Go, because this file computes only integers from the 64-bit output of PCG, whose algorithm
// is fixed.
type stream struct {
	pcg *rand.PCG
}

// newStream seeds a stream from a hash of its three names. Each field of each trajectory has its own
// stream, so that a change of one field leaves the others unchanged.
func newStream(seed uint64, id, field string) stream {
	name := binary.LittleEndian.AppendUint64(nil, seed)
	name = append(name, id+"\x00"+field...)
	hash := sha256.Sum256(name)
	return stream{rand.NewPCG(binary.LittleEndian.Uint64(hash[:8]), binary.LittleEndian.Uint64(hash[8:16]))}
}

// below draws from 0 to n-1, with a bias under n/2⁶⁴.
func (s stream) below(n int) int {
	high, _ := bits.Mul64(s.pcg.Uint64(), uint64(n))
	return int(high)
}

// chance returns true with a probability in percent.
func (s stream) chance(percent int) bool { return s.below(100) < percent }

// pick draws one of the words.
func (s stream) pick(words []string) string { return words[s.below(len(words))] }

// one is 1 in fixed-point numbers.
const one = 1 << 16

// normal draws a standard normal deviate in units of 1/one, as the sum of twelve uniform deviates. It
// ends at ±6 and its tails are a little thin: the mean of a lognormal distribution with sigma 1.35 is
// 1.3 % low.
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

// These distributions have the shapes of measured R2E-Gym runs. Their moments give 500 trajectories the
// aggregates of the benchmark that this load replaces: 47.1 steps, 2.15 s of execution over the first
// five steps, about 20 s over all. The tail of the execution times is extrapolated.
var (
	problemTokens     = logNormal{median: 310.75, sigma: 0.897, low: 24, high: 7721} // SWE-bench Verified: ln 5.739
	thoughtTokens     = logNormal{median: 81.45, sigma: 0.75, low: 8, high: 2000}    // ln 4.4
	actionTokens      = logNormal{median: 66.69, sigma: 0.95, low: 15, high: 1500}   // ln 4.2
	observationTokens = logNormal{median: 134.29, sigma: 1.35, low: 3, high: 3600}   // ln 4.9

	fastSeconds = logNormal{median: 0.095, sigma: 0.35, low: 0, high: maxExecSeconds} // edits, views, searches
	bashSeconds = logNormal{median: 0.26, sigma: 1.25, low: 0, high: maxExecSeconds}
	testSeconds = logNormal{median: 8, sigma: 0.8, low: 0, high: maxExecSeconds} // a test suite
)

const (
	idleSeconds    = 0.035 // calls that do next to nothing: finish, a refused edit
	maxExecSeconds = 90    // where R2E-Gym interrupts a command
)

// Bytes per Qwen2.5 token of each kind of text, measured on 500 problem statements and 504 steps. Texts
// are generated to a length in bytes.
const (
	problemBytesPerToken     = 3.615
	thoughtBytesPerToken     = 4.45
	actionBytesPerToken      = 4.00
	observationBytesPerToken = 3.27
)

// stepCount draws the number of steps of a trajectory. Most trajectories exhaust the budget.
func stepCount(s stream) int {
	if s.chance(78) {
		return DefaultMaxSteps
	}
	return 25 + s.below(25)
}

// work is the kind of a step's call, by its duration.
type work int

const (
	idleWork work = iota
	fileWork
	bashWork
	testWork
)

// execution draws a step's work and its duration in seconds.
func execution(s stream) (work, float64) {
	switch p := s.below(1000); {
	case p < 40:
		return idleWork, idleSeconds
	case p < 600:
		return fileWork, fastSeconds.seconds(s)
	case p < 985:
		return bashWork, bashSeconds.seconds(s)
	default:
		return testWork, testSeconds.seconds(s)
	}
}

// logNormal is a lognormal distribution with its tails cut to [low, high].
type logNormal struct {
	median, sigma float64
	low, high     float64
}

// draw computes median·2^(sigma·log₂e·z). Exponents are integers, and floating point is only multiplied:
// a single multiplication can't be fused and is rounded alike on every processor. math.Exp is not.
func (d logNormal) draw(s stream) float64 {
	slope := int64(d.sigma * math.Log2E * one)
	v := d.median * exp2(slope*s.normal()/one)
	return min(max(v, d.low), d.high)
}

// bytes draws a number of tokens and returns it in bytes of text.
func (d logNormal) bytes(s stream, perToken float64) int {
	return int(math.Round(d.draw(s) * perToken))
}

// seconds draws a duration, rounded to microseconds.
func (d logNormal) seconds(s stream) float64 { return math.Round(d.draw(s)*1e6) / 1e6 }

// exp2 returns two to the power of x/one.
func exp2(x int64) float64 {
	whole, fraction := x>>16, x&(one-1)
	v := 1.0
	for i, root := range roots {
		if fraction&(one>>(i+1)) != 0 {
			v *= root
		}
	}
	return math.Ldexp(v, int(whole))
}

// roots are 2^(1/2), 2^(1/4), 2^(1/8), …: the weights of the bits of a fraction.
var roots = [16]float64{
	1.41421356237309504880, 1.18920711500272106671, 1.09050773266525765920, 1.04427378242741384032,
	1.02189714865411667823, 1.01088928605170046002, 1.00542990111280282135, 1.00271127505020248543,
	1.00135471989210820588, 1.00067713069306635667, 1.00033850805268231295, 1.00016923970530223108,
	1.00008461627269431320, 1.00004230724139581933, 1.00002115339696480809, 1.00001057664254972023,
}
