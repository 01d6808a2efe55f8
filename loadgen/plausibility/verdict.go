package plausibility

import (
	"strings"

	"paceline/loadgen/number"
	"paceline/loadgen/phrase"
)

// Claim is a throughput that somebody reports.
type Claim struct {
	Prompts int     // that were answered
	Seconds float64 // in all

	// As the server counted them, over all prompts. Where nobody counted, Counted is
	// false and both are what such prompts have.
	PromptTokens, CachedTokens int64
	Counted                    bool
}

// Kind is what a verdict comes to.
type Kind string

// The kinds of verdict.
const (
	Plausible     Kind = "plausible"      // the device could have computed every token
	CacheAssisted Kind = "cache-assisted" // it could because tokens came from the cache, as was counted
	Impossible    Kind = "impossible"     // it could not
)

// Verdict is what arithmetic says of a claim.
type Verdict struct {
	Kind         Kind
	FloorSeconds float64       // least time for the tokens that were not cached
	AllSeconds   float64       // least time for all of them
	Sum          phrase.Phrase // the arithmetic, in words
}

// floor is the least time in which a device reads so many tokens: it must multiply
// each with all parameters, and read these at least once.
func floor(d Device, m Model, tokens int64) (seconds float64, byMemory bool) {
	if tokens <= 0 {
		return 0, false
	}
	n := float64(max(1, d.Count))
	compute := 2 * m.Parameters * float64(tokens) / (d.FLOPSPerSecond * n)
	memory := m.WeightBytes / (d.MemoryBytesPerSecond * n)
	return max(compute, memory), memory > compute
}

// tolerance is how much less than the floor a time may be: it was rounded.
const tolerance = 0.98

// Judge holds a claim against what the device can do at most.
func Judge(d Device, m Model, c Claim) Verdict {
	left := max(0, c.PromptTokens-c.CachedTokens)
	least, byMemory := floor(d, m, left)
	all, _ := floor(d, m, c.PromptTokens)
	v := Verdict{FloorSeconds: least, AllSeconds: all}
	switch {
	case c.Seconds < tolerance*least:
		v.Kind = Impossible
	case c.Seconds < tolerance*all:
		v.Kind = CacheAssisted
	default:
		v.Kind = Plausible
	}
	v.Sum = phrase.Sentences(c.said(left), capacity(d, m, left, least, byMemory), v.consequence(c))
	return v
}

// said is the claim itself.
func (c Claim) said(left int64) phrase.Phrase {
	claim := phrase.Say("%s prompts in %s s are %s a second.", number.Thousands(c.Prompts), figure(c.Seconds), figure(float64(c.Prompts)/c.Seconds))
	all, cached, rest := number.Thousands(c.PromptTokens), number.Thousands(c.CachedTokens), number.Thousands(left)
	if c.Counted {
		return phrase.Sentences(claim, phrase.Say("The server counted %s tokens, %s of them cached: %s were to be computed.", all, cached, rest))
	}
	return phrase.Sentences(claim, phrase.Say("No tokens were counted. Such prompts have %s, of which %s are shared and may be cached: at least %s were to be computed.", all, cached, rest))
}

// capacity is what the device can do with so many tokens.
func capacity(d Device, m Model, left int64, least float64, byMemory bool) phrase.Phrase {
	flop := 2 * m.Parameters
	work := phrase.Say("%s multiplies a token with %s billion parameters, %s GFLOP: %s PFLOP.", m.Name, figure(m.Parameters/1e9), figure(flop/1e9), figure(flop*float64(left)/1e15))
	rate, seconds := figure(d.FLOPSPerSecond*float64(max(1, d.Count))/1e12), figure(least)
	if byMemory {
		if d.Count > 1 {
			return phrase.Sentences(work, phrase.Say("%d %s compute at most %s TFLOP/s, which takes %s s (reading the weights once takes longer than computing).", d.Count, d.Name, rate, seconds))
		}
		return phrase.Sentences(work, phrase.Say("One %s computes at most %s TFLOP/s, which takes %s s (reading the weights once takes longer than computing).", d.Name, rate, seconds))
	}
	if d.Count > 1 {
		return phrase.Sentences(work, phrase.Say("%d %s compute at most %s TFLOP/s, which takes %s s.", d.Count, d.Name, rate, seconds))
	}
	return phrase.Sentences(work, phrase.Say("One %s computes at most %s TFLOP/s, which takes %s s.", d.Name, rate, seconds))
}

// consequence is what follows from both.
func (v Verdict) consequence(c Claim) phrase.Phrase {
	switch v.Kind {
	case Impossible:
		text := phrase.Say("The claim is %s times faster: the answers were not waited for, or were not computed.", figure(v.FloorSeconds/c.Seconds))
		if !c.Counted {
			return phrase.Sentences(text, phrase.Say("(Had the same prompts just gone through before, the cache could hold all of them; then it is a figure of the cache and not of prefill.)"))
		}
		return text
	case CacheAssisted:
		return phrase.Say("Computing all tokens would take %s s: the cache made it possible, and without it the throughput is at most %s a second.", figure(v.AllSeconds), figure(float64(c.Prompts)/v.AllSeconds))
	case Plausible:
		return phrase.Say("That is %s %% of the time that it took.", figure(100*v.FloorSeconds/c.Seconds))
	}
	return phrase.Phrase{}
}

// figure writes three significant digits, without zeros at the end.
func figure(v float64) string {
	text := number.Significant(v, 3)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}
