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

// Prompts are this part's conversations: of all, those whose number leaves Index when
// divided by Of. Neighbours go to different parts, so that each has its share of long
// and short ones.
func (p Part) Prompts(all []target.Prompt) (own []target.Prompt) {
	if p.Of == 0 {
		return all
	}
	conversation := -1
	for i, prompt := range all {
		if i == 0 || !prompt.Follows {
			conversation++
		}
		if conversation%p.Of == p.Index {
			own = append(own, prompt)
		}
	}
	return own
}

// Callers is this part's share of n callers.
func (p Part) Callers(n int) int {
	if p.Of == 0 {
		return n
	}
	return (n + p.Of - 1 - p.Index) / p.Of
}
