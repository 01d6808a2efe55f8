package sim

import (
	"hash/fnv"
	"math"

	"paceline/sglang"
)

// reply is the answer to one prompt that has been read.
func (s *Server) reply(p prompt, j *job) sglang.Answer {
	s.scheduler.mu.Lock()
	cached, started, ready, firstDone, aborted := j.cached, j.started, j.ready, j.firstDone, j.aborted
	s.scheduler.mu.Unlock()

	meta := sglang.MetaInfo{
		ID: p.rid, PromptTokens: len(p.tokens), CachedTokens: cached, WeightVersion: "default",
		FinishReason: &sglang.FinishReason{Type: "length", Length: &p.newTokens},
	}
	if cached > 0 {
		meta.CachedTokensDetails = &sglang.CachedDetails{Device: cached}
	}
	if !started.IsZero() {
		meta.QueueTime = s.clock.simulated(started.Sub(ready))
	}
	if !firstDone.IsZero() {
		meta.E2ELatency = s.clock.simulated(firstDone.Sub(j.arrived))
	}
	a := sglang.Answer{OutputIDs: []int32{}, Meta: meta}
	if aborted {
		a.Meta.FinishReason = &sglang.FinishReason{Type: "abort", Message: "Abort in waiting queue"}
		return a
	}
	for i := range p.newTokens {
		id := nextToken(p.tokens, i, s.profile.VocabSize)
		a.OutputIDs = append(a.OutputIDs, id)
		a.Text += word(id)
	}
	a.Meta.CompletionTokens = p.newTokens
	if p.logprob {
		s.logprobs(p, &a)
	}
	return a
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
	if n == 0 {
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

// nextToken is the made-up token after the prompt and n generated ones.
func nextToken(tokens []int32, n, vocab int) int32 {
	h := fnv.New32a()
	var b [4]byte
	for _, id := range tokens[max(0, len(tokens)-64):] {
		b = [4]byte{byte(id), byte(id >> 8), byte(id >> 16), byte(n)}
		_, _ = h.Write(b[:])
	}
	return int32(h.Sum32() % uint32(vocab))
}

func word(id int32) string {
	const letters = "aeioubcdfghklmnprstvwz"
	w := []byte{' '}
	for v := id + 1; v > 0; v /= int32(len(letters)) {
		w = append(w, letters[v%int32(len(letters))])
	}
	return string(w)
}
