package sweep

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"paceline/loadgen/target"
)

// Fact is something that must be the same for two sweeps to be one: a flag's value, or
// what the prompts are.
type Fact struct {
	Name  string `json:"name"` // of a flag with its dash
	Value string `json:"value"`
}

// Differences names the facts that are not the same, in the order of a; those of b that
// are in allowed may be others in a.
func Differences(a, b []Fact, allowed ...Fact) (out []string) {
	other := map[string]string{}
	for _, f := range b {
		other[f.Name] = f.Value
	}
	for _, f := range a {
		switch v, there := other[f.Name]; {
		case !there:
			out = append(out, fmt.Sprintf("%s: %q there and not told here", f.Name, f.Value))
		case v != f.Value && !slices.Contains(allowed, Fact{f.Name, v}):
			out = append(out, fmt.Sprintf("%s: %q there and %q here", f.Name, f.Value, v))
		}
		delete(other, f.Name)
	}
	for _, f := range b {
		if v, left := other[f.Name]; left {
			out = append(out, fmt.Sprintf("%s: not told there and %q here", f.Name, v))
		}
	}
	return out
}

// Facts tell of the settings what flags alone do not: whether there is a server to send
// straight to.
func (p Plan) Facts() []Fact {
	names := make([]string, len(p.Settings))
	for i, s := range p.Settings {
		names[i] = s.Name()
	}
	return []Fact{{"settings", strings.Join(names, "; ")}}
}

// PromptFacts tell all prompts apart from any others, without holding them.
func PromptFacts(prompts []target.Prompt) []Fact {
	h := sha256.New()
	for _, p := range prompts {
		for _, text := range []string{p.ID, p.Text, p.Tail} {
			_ = binary.Write(h, binary.BigEndian, uint64(len(text))) // a hash takes everything
			_, _ = io.WriteString(h, text)
		}
		_ = binary.Write(h, binary.BigEndian, []bool{p.Follows, p.Joins})
		_ = binary.Write(h, binary.BigEndian, []time.Duration{p.Pause, p.Stagger, p.At})
	}
	return []Fact{{"prompts", fmt.Sprint(len(prompts))}, {"hash of the prompts", hex.EncodeToString(h.Sum(nil)[:8])}}
}

// Told joins differences to a clause, the first few of many.
func Told(differences []string) string {
	const few = 5
	if more := len(differences) - few; more > 0 {
		return strings.Join(differences[:few], "; ") + fmt.Sprintf("; and %d more", more)
	}
	return strings.Join(differences, "; ")
}
