package load

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"

	"paceline/loadgen/report"
	"paceline/loadgen/target"
	"paceline/loadgen/trajectory"
)

// States are the sizes of a load of questions about states. All states and questions differ.
type States struct {
	Questions      int // about each state
	Tokens         int // of a state
	QuestionTokens int // of a question, without the words of SGLang's template
}

func (s States) validate() error {
	const most = 1 << 20
	for _, one := range []struct {
		flag string
		n    int
	}{{"-questions", s.Questions}, {"-state-tokens", s.Tokens}, {"-question-tokens", s.QuestionTokens}} {
		if one.n < 1 || one.n > most {
			return fmt.Errorf("%s: must be from 1 to %d, got %d", one.flag, most, one.n)
		}
	}
	return nil
}

// readStates makes a request for each state.
func readStates(o Options) Load {
	s := o.States
	l := Load{Source: report.Source{
		Kind: "states", Seed: o.Seed, Count: o.Count, Requests: o.Count, Turns: 1,
		Questions: s.Questions, StateTokens: s.Tokens, QuestionTokens: s.QuestionTokens,
		Template: "random token ids",
	}}
	body := o.scoreBody()
	if o.Work == target.Decide {
		l.Source.Template, body = "words that mean nothing, one token each; SGLang's own template", o.decideBody()
	}
	for i := range o.Count {
		p := target.Prompt{ID: fmt.Sprintf("state-%d", i+1), Body: body(), Questions: s.Questions}
		l.Source.PromptBytesTotal += int64(len(p.Body))
		l.Prompts = append(l.Prompts, p)
	}
	return l
}

// scoreBody returns a function that makes the next body of /v1/score.
func (o Options) scoreBody() func() []byte {
	const lowest, highest = 1000, 30000 // plain tokens in every larger vocabulary
	rng := rand.New(rand.NewPCG(o.Seed, 3))
	ids := func(n int) []int {
		all := make([]int, n)
		for i := range all {
			all[i] = lowest + rng.IntN(highest-lowest)
		}
		return all
	}
	return func() []byte {
		items, query := make([][]int, o.States.Questions), ids(o.States.Tokens)
		for i := range items {
			items[i] = ids(o.States.QuestionTokens)
		}
		body, _ := json.Marshal(map[string]any{ // of numbers
			"query": query, "items": items, "label_token_ids": []int{9454, 2753}, "apply_softmax": true, // Qwen's Yes and No
		})
		return body
	}
}

// decideBody returns a function that makes the next body of /v1/decisions (SGLang 0.5.23).
func (o Options) decideBody() func() []byte {
	type question struct {
		ID       string `json:"id"`
		Type     string `json:"type"`
		Question string `json:"question"`
	}
	var made trajectory.Synthesis
	line := int(o.Seed%1000) * 1_000_000_000 // texts of different lines differ
	words := func(n int) string {
		line++
		return made.Prompt(trajectory.Recorded{Line: line, InputTokens: n})
	}
	return func() []byte {
		input, all := words(o.States.Tokens), make([]question, o.States.Questions)
		for i := range all {
			all[i] = question{fmt.Sprintf("q%d", i+1), "yes_no", words(o.States.QuestionTokens)}
		}
		body, _ := json.Marshal(map[string]any{"input": input, "questions": all}) // of strings
		return body
	}
}
