package sweep

import (
	"fmt"
	"strconv"
	"strings"

	"paceline/loadgen/target"
)

// MaxParts bounds the parts of one load.
const MaxParts = 1024

// Part is one of several parts of a load, each of which a process of its own sends. The
// zero value is the whole load.
type Part struct{ Index, Of int }

// String implements flag.Value.
func (p *Part) String() string {
	if p.Of == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", p.Index, p.Of)
}

// Set implements flag.Value.
func (p *Part) Set(text string) error {
	left, right, _ := strings.Cut(text, "/")
	index, err := strconv.Atoi(left)
	of, errOf := strconv.Atoi(right)
	if err != nil || errOf != nil || of < 1 || of > MaxParts || index < 0 || index >= of {
		return fmt.Errorf("must be i/n with i from 0 to n-1 and n at most %d, got %q", MaxParts, text)
	}
	*p = Part{index, of}
	return nil
}

// Prompts returns this part's conversations: those of every Of-th trajectory with all its
// copies, from the Index-th on. Neighbours go to different parts, so that each part has its
// share of long and short ones.
func (p Part) Prompts(all []target.Prompt) (own []target.Prompt) {
	if p.Of == 0 {
		return all
	}
	trajectory := -1
	for i, prompt := range all {
		if i == 0 || !prompt.Follows && !prompt.Joins {
			trajectory++
		}
		if trajectory%p.Of == p.Index {
			own = append(own, prompt)
		}
	}
	return own
}

// Plan returns this part's share of a plan: of its callers and of its arrivals.
func (p Part) Plan(of Plan) Plan {
	of.Concurrency = p.share(of.Concurrency)
	of.Arrival.MaxOutstanding = p.share(of.Arrival.MaxOutstanding)
	of.Arrival.Part = p
	return of
}

func (p Part) share(n int) int {
	if p.Of == 0 {
		return n
	}
	return (n + p.Of - 1 - p.Index) / p.Of
}
