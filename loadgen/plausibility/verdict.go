// Package plausibility decides whether a prefill throughput can be true. A device has a maximum of
// operations and of memory reads per second. A claim beyond that did not wait for the answers or did
// not compute them.
//
// The floor is the minimum time that the arithmetic allows. It leaves out attention, the vocabulary,
// the network and scheduling. So a claim below it is impossible, and a plausible claim may still be
// wrong.
//
// Read verdict.go first. device.go and model.go hold the figures, table.go reads tables of others.
// Package report/render puts a verdict into words.
package plausibility

// Claim is a reported throughput.
type Claim struct {
	Prompts int     // that were answered
	Seconds float64 // in all

	// Of all prompts: counted or estimated.
	PromptTokens, CachedTokens int64
	Counted                    bool // by the server
}

// PerSecond returns the claimed throughput in prompts per second.
func (c Claim) PerSecond() float64 { return float64(c.Prompts) / c.Seconds }

// Left returns the tokens that had to be computed.
func (c Claim) Left() int64 { return max(0, c.PromptTokens-c.CachedTokens) }

// Kind is the result of a verdict.
type Kind string

// The kinds of verdict.
const (
	Plausible     Kind = "plausible"      // the device could have computed every token
	CacheAssisted Kind = "cache-assisted" // it could, because the counted cached tokens were not computed
	Impossible    Kind = "impossible"     // it could not
)

// Verdict is the result of the arithmetic for a claim.
type Verdict struct {
	Claim
	Device Device
	Model  Model
	Kind   Kind

	FloorSeconds float64 // minimum time for the tokens that were not cached
	AllSeconds   float64 // minimum time for all tokens
	ByMemory     bool    // reading the weights once takes longer than computing
}

// tolerance is how far below the floor a time may be, because times are rounded.
const tolerance = 0.98

// Judge compares a claim with the maximum that a device can do.
func Judge(d Device, m Model, c Claim) Verdict {
	d = d.serves(m)
	v := Verdict{Claim: c, Device: d, Model: m, Kind: Plausible}
	v.FloorSeconds, v.ByMemory = floor(d, m, c.Left())
	v.AllSeconds, _ = floor(d, m, c.PromptTokens)
	switch {
	case c.Seconds < tolerance*v.FloorSeconds:
		v.Kind = Impossible
	case c.Seconds < tolerance*v.AllSeconds:
		v.Kind = CacheAssisted
	}
	return v
}

// floor returns the minimum time of a device for some tokens: it must multiply each with all parameters
// and read the parameters at least once.
func floor(d Device, m Model, tokens int64) (seconds float64, byMemory bool) {
	if tokens <= 0 {
		return 0, false
	}
	compute := m.FLOP() * float64(tokens) / d.flops()
	memory := m.WeightBytes / (d.MemoryBytesPerSecond * float64(max(1, d.Count)))
	return max(compute, memory), memory > compute
}

// PFLOP returns the work for the tokens that had to be computed.
func (v Verdict) PFLOP() float64 { return v.Model.FLOP() * float64(v.Left()) / 1e15 }

// TimesFaster returns how many times faster than the floor the claim is.
func (v Verdict) TimesFaster() float64 { return v.FloorSeconds / v.Seconds }

// WithoutCache returns the maximum of prompts per second if every token is computed.
func (v Verdict) WithoutCache() float64 { return float64(v.Prompts) / v.AllSeconds }

// PercentOfTime returns the floor as a percentage of the claimed time.
func (v Verdict) PercentOfTime() float64 { return 100 * v.FloorSeconds / v.Seconds }
