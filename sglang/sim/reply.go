package sim

import (
	"math"

	"paceline/sglang"
)

// reply is the answer to one prompt whose job has ended.
func (s *Server) reply(p prompt, j *job) sglang.Answer {
	a := sglang.Answer{OutputIDs: generated(p.tokens, j.made, s.profile.VocabSize), Meta: sglang.MetaInfo{
		ID: p.rid, CompletionTokens: j.made, WeightVersion: "default", FinishReason: finishReason(p, j),
		E2ELatency: s.clock.simulated(j.ended.Sub(j.arrived)),
	}}
	for _, id := range a.OutputIDs {
		a.Text += word(id)
	}
	if j.started.IsZero() { // SGLang says no more of what it aborts in its queue (tokenizer_manager.py, _handle_abort_req)
		return a
	}
	a.Meta.PromptTokens, a.Meta.CachedTokens = len(p.tokens), j.cached
	a.Meta.QueueTime = s.clock.simulated(j.started.Sub(j.ready))
	if j.cached > 0 {
		a.Meta.CachedTokensDetails = &sglang.CachedDetails{Device: j.cached}
	}
	if p.logprob && !j.aborted {
		s.logprobs(p, &a)
	}
	return a
}

func finishReason(p prompt, j *job) *sglang.FinishReason {
	switch {
	case p.refusal != "" && !j.aborted:
		return &sglang.FinishReason{Type: "abort", Message: p.refusal, StatusCode: []byte("400")}
	case !j.aborted:
		return &sglang.FinishReason{Type: "length", Length: &j.made}
	case j.started.IsZero():
		return &sglang.FinishReason{Type: "abort", Message: "Abort in waiting queue"}
	}
	return &sglang.FinishReason{Type: "abort", Message: "Aborted", StatusCode: []byte("null")}
}

// logprobs makes up log probabilities: the same for the same tokens, and
// nothing else is true of them.
func (s *Server) logprobs(p prompt, a *sglang.Answer) {
	m := &a.Meta
	m.InputTokenLogprobs, m.OutputTokenLogprobs = []sglang.TokenLogprob{}, []sglang.TokenLogprob{}
	if p.logprobStart >= 0 {
		for i := p.logprobStart; i < len(p.tokens); i++ {
			t := sglang.TokenLogprob{ID: int(p.tokens[i])}
			if i > p.logprobStart {
				t.Logprob = fakeLogprob(p.tokens[i], i)
			}
			m.InputTokenLogprobs = append(m.InputTokenLogprobs, t)
			m.InputTopLogprobs = appendPlace(m.InputTopLogprobs, p.topLogprobs, i, i > p.logprobStart)
			m.InputIDsLogprobs = appendChosen(m.InputIDsLogprobs, p.idLogprobs, i, i > p.logprobStart)
		}
	}
	for i, id := range a.OutputIDs {
		m.OutputTokenLogprobs = append(m.OutputTokenLogprobs, sglang.TokenLogprob{ID: int(id), Logprob: fakeLogprob(id, len(p.tokens)+i)})
	}
	// The place after the prompt is answered even at 0 new tokens.
	m.OutputTopLogprobs = appendPlace(m.OutputTopLogprobs, p.topLogprobs, len(p.tokens), true)
	m.OutputIDsLogprobs = appendChosen(m.OutputIDsLogprobs, p.idLogprobs, len(p.tokens), true)
}

func appendPlace(to [][]sglang.TokenLogprob, n, place int, known bool) [][]sglang.TokenLogprob {
	if n <= 0 {
		return to
	}
	if !known {
		return append(to, nil)
	}
	row := make([]sglang.TokenLogprob, n)
	for k := range row {
		v := -1 - float64(k)
		row[k] = sglang.TokenLogprob{ID: place + k, Logprob: &v}
	}
	return append(to, row)
}

func appendChosen(to [][]sglang.TokenLogprob, ids []int32, place int, known bool) [][]sglang.TokenLogprob {
	if len(ids) == 0 {
		return to
	}
	if !known {
		return append(to, nil)
	}
	row := make([]sglang.TokenLogprob, len(ids))
	for k, id := range ids {
		row[k] = sglang.TokenLogprob{ID: int(id), Logprob: fakeLogprob(id, place)}
	}
	return append(to, row)
}

func fakeLogprob(id int32, place int) *float64 {
	v := -0.5 - math.Mod(float64(id)*0.37+float64(place)*0.11, 11)
	return &v
}

// generated makes up n tokens after a prompt. They hang on all of it, so that an
// answer given to the wrong prompt is not the right one by chance.
func generated(tokens []int32, n, vocab int) []int32 {
	ids := make([]int32, n)
	if n == 0 {
		return ids
	}
	const prime = 1099511628211 // FNV-1a, a token at a time
	h := uint64(14695981039346656037)
	for _, id := range tokens {
		h = (h ^ uint64(id)) * prime
	}
	for i := range ids {
		h = (h ^ uint64(i)) * prime
		ids[i] = int32((h >> 32) % uint64(vocab))
	}
	return ids
}

func word(id int32) string {
	const letters = "aeioubcdfghklmnprstvwz"
	w := []byte{' '}
	for v := id + 1; v > 0; v /= int32(len(letters)) {
		w = append(w, letters[v%int32(len(letters))])
	}
	return string(w)
}
