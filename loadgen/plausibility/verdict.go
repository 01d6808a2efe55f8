package plausibility

import (
	"fmt"
	"strconv"
	"strings"

	"paceline/loadgen/number"
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
	Kind         Kind    `json:"kind"`
	FloorSeconds float64 `json:"floor_seconds"` // least time for the tokens that were not cached
	AllSeconds   float64 `json:"all_seconds"`   // least time for all of them
	Sum          string  `json:"sum"`           // the arithmetic, in words
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
	var b strings.Builder
	fmt.Fprintf(&b, "%s prompts in %s s are %s a second. ", number.Thousands(c.Prompts), figure(c.Seconds), figure(float64(c.Prompts)/c.Seconds))
	if c.Counted {
		fmt.Fprintf(&b, "The server counted %s tokens, %s of them cached: %s were to be computed. ", number.Thousands(c.PromptTokens), number.Thousands(c.CachedTokens), number.Thousands(left))
	} else {
		fmt.Fprintf(&b, "No tokens were counted. Such prompts have %s, of which %s are shared and may be cached: at least %s were to be computed. ", number.Thousands(c.PromptTokens), number.Thousands(c.CachedTokens), number.Thousands(left))
	}
	flop := 2 * m.Parameters
	fmt.Fprintf(&b, "%s multiplies a token with %s parameters, %s GFLOP: %s PFLOP. %s compute%s at most %s TFLOP/s, which takes %s s",
		m.Name, billions(m.Parameters), figure(flop/1e9), figure(flop*float64(left)/1e15), name(d), plural(d), figure(d.FLOPSPerSecond*float64(max(1, d.Count))/1e12), figure(least))
	if byMemory {
		fmt.Fprintf(&b, " (reading the weights once takes longer than computing)")
	}
	b.WriteString(". ")
	switch v.Kind {
	case Impossible:
		fmt.Fprintf(&b, "The claim is %s times faster: the answers were not waited for, or were not computed.", figure(least/c.Seconds))
		if !c.Counted {
			b.WriteString(" (Had the same prompts just gone through before, the cache could hold all of them; then it is a figure of the cache and not of prefill.)")
		}
	case CacheAssisted:
		fmt.Fprintf(&b, "Computing all tokens would take %s s: the cache made it possible, and without it the throughput is at most %s a second.", figure(all), figure(float64(c.Prompts)/all))
	case Plausible:
		fmt.Fprintf(&b, "That is %s %% of the time that it took.", figure(100*least/c.Seconds))
	}
	v.Sum = b.String()
	return v
}

func name(d Device) string {
	if d.Count > 1 {
		return strconv.Itoa(d.Count) + " " + d.Name
	}
	return "One " + d.Name
}

func plural(d Device) string {
	if d.Count > 1 {
		return ""
	}
	return "s"
}

func billions(v float64) string { return figure(v/1e9) + " billion" }

// figure writes three significant digits, without zeros at the end.
func figure(v float64) string {
	text := number.Significant(v, 3)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}
