package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// conversation is prompts of which each is sent after the answer to the one before.
type conversation struct {
	key     string // what its prompts are spread by
	prompts [][]int32
}

// workload is conversations in their order of arrival.
type workload struct {
	conversations []conversation
	distinct      int // tokens: the fewest that all pods together must compute
	total         int // tokens of all prompts
}

// Sizes in tokens, about those of R2E-Gym's agent with Qwen2.5: what all first turns
// share, what is each one's own, and what a step adds.
const (
	system                 = 1267
	problemLow, problemTop = 300, 1200
	stepLow, stepTop       = 150, 850
)

// firstTurns is n prompts that share the system prompt alone.
func firstTurns(n int) workload { return converse(n, 1, 1) }

// rollouts is the first turn of each of n problems, so many times, those of a problem
// one after the other.
func rollouts(n, copies int) workload { return converse(n, 1, copies) }

// conversations is n of them with so many turns.
func conversations(n, turns int) workload { return converse(n, turns, 1) }

func converse(n, turns, copies int) workload {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same prompts each time
	w := workload{distinct: system}
	shared := segment(random, system)
	for i := range n {
		c := conversation{key: fmt.Sprint(i)}
		prompt := slices.Concat(shared, segment(random, between(random, problemLow, problemTop)))
		for range turns {
			c.prompts = append(c.prompts, prompt)
			prompt = slices.Concat(prompt, segment(random, between(random, stepLow, stepTop)))
		}
		w.distinct += len(c.prompts[turns-1]) - system
		for range copies {
			w.conversations = append(w.conversations, c)
			for _, p := range c.prompts {
				w.total += len(p)
			}
		}
	}
	return w
}

func between(random *rand.Rand, low, top int) int { return low + random.IntN(top-low+1) }

// segment is random ids, which nothing else begins with.
func segment(random *rand.Rand, n int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = random.Int32N(150_000)
	}
	return ids
}
