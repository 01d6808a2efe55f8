// Package shard sends one load from several processes: each a part of it (part.go),
// in step with the others because a coordinator (coordinator.go) lets them begin each
// pass together, puts the settings in force, and joins what they measured.
//
// The two speak HTTP and JSON (messages.go, handler.go, member.go), without prompts and
// without secrets. There is no authentication: the port is for the processes of one
// load alone.
package shard

import (
	"fmt"
	"strconv"
	"strings"

	"paceline/loadgen/sweep"
	"paceline/loadgen/target"
)

// Most parts of one load.
const Most = 1024

// Part is one of several parts of a load. The zero value is the whole.
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
	if err != nil || errOf != nil || of < 1 || of > Most || index < 0 || index >= of {
		return fmt.Errorf("must be i/n with i from 0 to n-1 and n at most %d, got %q", Most, text)
	}
	*p = Part{index, of}
	return nil
}

// Prompts are this part's conversations: of all trajectories, with their copies, those
// whose number leaves Index when divided by Of. Neighbours go to different parts, so
// that each has its share of long and short ones.
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

// Plan is this part's share of a plan: of its callers, and of its arrivals.
func (p Part) Plan(of sweep.Plan) sweep.Plan {
	of.Concurrency = p.share(of.Concurrency)
	of.Arrival.MostOutstanding = p.share(of.Arrival.MostOutstanding)
	of.Arrival.Index, of.Arrival.Of = p.Index, p.Of
	return of
}

// share is this part's share of n.
func (p Part) share(n int) int {
	if p.Of == 0 {
		return n
	}
	return (n + p.Of - 1 - p.Index) / p.Of
}
