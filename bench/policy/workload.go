package main

import (
	"fmt"
	"hash/maphash"
	"math"

	"paceline/loadgen/prompt"
	"paceline/loadgen/trajectory"
)

// workload is a list of prompts in their order of arrival, as token ids.
type workload struct {
	name    string
	what    string
	prompts [][]int32
	callers int // at once; 0: all
}

// workloads has the workloads by the letters of -workloads. First turns are the benchmark of
// record: they share hardly more than the system prompt, so they are a control. Few callers
// have little to batch and share little in flight. For short pairs, waiting for the first
// may cost more than it saves.
var workloads = map[string]func() workload{
	"a": func() workload {
		return workload{"first turns", "first turns of different problems, cold", turns(500, 1, 0), 64}
	},
	"b": func() workload {
		return workload{"rollouts", "8 rollouts of each of 60 problems, those of a problem together", turns(60, 2, 0, 0, 0, 0, 0, 0, 0, 0), 64}
	},
	"c": func() workload { return multiTurn(60, 8) },
	"d": func() workload {
		return workload{"few callers", "two prompts of each of 60 problems, four callers", turns(60, 4, 0, 1), 4}
	},
	"e": func() workload { return shortPairs(64) },
	"f": func() workload { return shortPairs(2) },
}

// turns returns the given turns of each of n trajectories.
func turns(n int, seed uint64, turns ...int) (prompts [][]int32) {
	for _, t := range trajectory.Generate(n, seed) {
		for _, turn := range turns {
			prompts = append(prompts, pseudoIDs(history(t, turn)))
		}
	}
	return prompts
}

// multiTurn returns every turn of some conversations, all at once: the first turns of all,
// then the second turns, as when a reward model scores every step.
func multiTurn(conversations, turns int) workload {
	w := workload{name: "multi-turn", what: "8 turns of each of 60 conversations, turn by turn, all at once"}
	all := trajectory.Generate(conversations, 3)
	for turn := range turns {
		for _, t := range all {
			w.prompts = append(w.prompts, pseudoIDs(history(t, turn)))
		}
	}
	return w
}

// shortPairs returns pairs of short prompts that share half of their tokens.
func shortPairs(callers int) workload {
	what := fmt.Sprintf("pairs of prompts of 256 tokens that share 128, %d callers", callers)
	w := workload{name: "short pairs", what: what, callers: callers}
	for i := range int32(480) {
		p := make([]int32, 256)
		for k := range p {
			own := i
			if k < 128 {
				own = i / 2
			}
			p[k] = (int32(k) + 1000 + 300*own) % 150_000
		}
		w.prompts = append(w.prompts, p)
	}
	return w
}

// history returns the prompt of the agent at a turn, counted from 0.
func history(t trajectory.Trajectory, turn int) string {
	messages := prompt.Default().FirstTurn(t.Problem, t.MaxSteps)
	for _, s := range t.Steps[:min(turn, len(t.Steps))] {
		messages = append(messages,
			prompt.Message{Role: "assistant", Content: s.Thought + s.Action},
			prompt.Message{Role: "user", Content: s.Observation})
	}
	return prompt.Render(prompt.Qwen25, messages)
}

// pseudoIDs makes an id of every four bytes of a text. Texts that share a beginning share the
// beginning of their ids, and there are about as many as with a tokenizer. So the number of
// shared tokens is known exactly.
func pseudoIDs(text string) []int32 {
	const vocabulary = 100_000
	ids := make([]int32, 0, len(text)/4)
	for ; len(text) >= 4; text = text[4:] {
		ids = append(ids, int32(maphash.String(seed, text[:4])%vocabulary))
	}
	return ids
}

var seed = maphash.MakeSeed()

// distinct returns the min number of tokens to compute: the nodes of the prefix tree of the
// prompts.
func (w workload) distinct() int {
	seen := map[uint64]struct{}{}
	for _, p := range w.prompts {
		h := uint64(math.MaxUint64)
		for _, id := range p {
			h = maphash.Comparable(seed, [2]uint64{h, uint64(id)})
			seen[h] = struct{}{}
		}
	}
	return len(seen)
}
