package journal

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

// Fact is a property that two sweeps must share to be the same sweep: the value of a flag, the
// prompts, the server.
type Fact struct {
	Name  string `json:"name"` // a flag with its dash, or a description
	Value string `json:"value"`
}

// differences describes the facts that differ between there and here, in order. Facts of here that are
// in allowed may differ.
func differences(there, here []Fact, allowed ...Fact) (out []string) {
	other := map[string]string{}
	for _, f := range here {
		other[f.Name] = f.Value
	}
	for _, f := range there {
		switch v, found := other[f.Name]; {
		case !found:
			out = append(out, fmt.Sprintf("%s: %q there and missing here", f.Name, f.Value))
		case v != f.Value && !slices.Contains(allowed, Fact{f.Name, v}):
			out = append(out, fmt.Sprintf("%s: %q there and %q here", f.Name, f.Value, v))
		}
		delete(other, f.Name)
	}
	for _, f := range here {
		if v, left := other[f.Name]; left {
			out = append(out, fmt.Sprintf("%s: missing there and %q here", f.Name, v))
		}
	}
	return out
}

// summary joins the first few differences into one clause.
func summary(all []string) string {
	const few = 5
	if more := len(all) - few; more > 0 {
		return strings.Join(all[:few], "; ") + fmt.Sprintf("; and %d more", more)
	}
	return strings.Join(all, "; ")
}

// PromptFacts returns facts that identify prompts without containing them.
func PromptFacts(prompts []target.Prompt) []Fact {
	h := sha256.New()
	for _, p := range prompts {
		for _, text := range []string{p.ID, p.Full()} {
			_ = binary.Write(h, binary.BigEndian, uint64(len(text))) // a hash returns no error
			_, _ = io.WriteString(h, text)
		}
		_, _ = h.Write(p.Body)
		_ = binary.Write(h, binary.BigEndian, []bool{p.Follows, p.Joins})
		_ = binary.Write(h, binary.BigEndian, []time.Duration{p.Pause, 0, p.At}) // 0 keeps the hashes of earlier journals
	}
	return []Fact{{"prompts", fmt.Sprint(len(prompts))}, {"hash of the prompts", hex.EncodeToString(h.Sum(nil)[:8])}}
}
