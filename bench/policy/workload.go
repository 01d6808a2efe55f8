package main

import (
	"fmt"
	"hash/maphash"
	"math"

	"paceline/loadgen/prompt"
	"paceline/loadgen/trajectory"
)

// workload is prompts in their order of arrival, as token ids.
type workload struct {
	name    string
	what    string
	prompts [][]int32
	callers int // at once; 0: all
}

const (
	rolloutProblems = 60
	rollouts        = 8
	conversations   = 60
	turns           = 8
)

// firstTurns is the benchmark of record: hardly anything but the system prompt
// is shared, so it is a control.
func firstTurns(n int) workload {
	w := workload{name: "first turns", what: "first turns of different problems, cold", callers: 64}
	for _, t := range trajectory.Generate(n, 1) {
		w.prompts = append(w.prompts, pseudoIDs(history(t, 0)))
	}
	return w
}

// rolloutsTogether is the first turns of rollouts that start together.
func rolloutsTogether() workload {
	w := workload{name: "rollouts", what: "8 rollouts of each of 60 problems, those of a problem together", callers: 64}
	for _, t := range trajectory.Generate(rolloutProblems, 2) {
		ids := pseudoIDs(history(t, 0))
		for range rollouts {
			w.prompts = append(w.prompts, ids)
		}
	}
	return w
}

// multiTurn is every turn of some conversations, the first turns of all, then
// the second ones…, all at once: as a reward model is asked to score every step.
func multiTurn() workload {
	w := workload{name: "multi-turn", what: "8 turns of each of 60 conversations, turn by turn, all at once"}
	all := trajectory.Generate(conversations, 3)
	for turn := range turns {
		for _, t := range all {
			w.prompts = append(w.prompts, pseudoIDs(history(t, turn)))
		}
	}
	return w
}

// few is few callers, who have little to batch or to share in flight.
func few(callers int) workload {
	w := workload{name: "few callers", what: "two prompts of each of 60 problems, four callers", callers: callers}
	for _, t := range trajectory.Generate(rolloutProblems, 4) {
		w.prompts = append(w.prompts, pseudoIDs(history(t, 0)), pseudoIDs(history(t, 1)))
	}
	return w
}

// shortPairs is prompts of which two share half: to wait for the first of them
// may cost more than it saves.
func shortPairs(callers int) workload {
	w := workload{name: "short pairs", what: fmt.Sprintf("pairs of prompts of 256 tokens that share 128, %d callers", callers), callers: callers}
	for i := range int32(480) {
		p := make([]int32, 256)
		for k := range p {
			p[k] = int32(k) + 1000 + 300*i
			if k < 128 {
				p[k] = int32(k) + 1000 + 300*(i/2)
			}
		}
		w.prompts = append(w.prompts, p)
	}
	for i := range w.prompts {
		for k := range w.prompts[i] {
			w.prompts[i][k] %= 150_000
		}
	}
	return w
}

// history is what the agent sends at a turn, from 0.
func history(t trajectory.Trajectory, turn int) string {
	messages := prompt.Default().FirstTurn(t.Problem, t.MaxSteps)
	for _, s := range t.Steps[:min(turn, len(t.Steps))] {
		messages = append(messages,
			prompt.Message{Role: "assistant", Content: s.Thought + s.Action},
			prompt.Message{Role: "user", Content: s.Observation})
	}
	return prompt.Render(prompt.Qwen25, messages)
}

// pseudoIDs makes ids out of every four bytes of a text: texts that share a
// beginning share that of their ids, and there are about as many as a tokenizer
// would make. With ids the tokens shared are known exactly.
func pseudoIDs(text string) []int32 {
	const vocabulary = 100_000
	ids := make([]int32, 0, len(text)/4)
	for ; len(text) >= 4; text = text[4:] {
		ids = append(ids, int32(maphash.String(seed, text[:4])%vocabulary))
	}
	return ids
}

var seed = maphash.MakeSeed()

// distinct is how many tokens must be computed at least: the nodes of the
// prompts' prefix tree.
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
