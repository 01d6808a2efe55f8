package sim

import (
	"errors"
	"fmt"
	"math"
	"net/http"

	"paceline/sglang"
)

// answer waits for all prompts of a call and writes the whole answer.
func (s *Server) answer(w http.ResponseWriter, c *call, jobs []*job) {
	answers := make([]sglang.Answer, len(jobs))
	for i, j := range jobs {
		<-j.finished
		dropIfDead(j)
		answers[i] = s.reply(j)
	}
	switch {
	case c.dialect != nil && len(answers) > 0:
		writeJSON(w, http.StatusOK, c.dialect.Answer(s.profile.Model, answers))
	case c.list:
		writeJSON(w, http.StatusOK, answers)
	default:
		writeJSON(w, http.StatusOK, answers[0])
	}
}

// dropIfDead drops the connection of a job that ended with the server.
func dropIfDead(j *job) {
	if j.crashed {
		panic(http.ErrAbortHandler)
	}
}

// event is one event of a streamed answer. The events of a list have an index.
type event struct {
	sglang.Answer
	Index *int `json:"index,omitempty"`
}

// stream writes an event for each prompt when it ends, and then [DONE]. A real server sends
// one for each token. For prefill that is the same.
func (s *Server) stream(w http.ResponseWriter, c *call, jobs []*job) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	flusher := http.NewResponseController(w)
	ended := make(chan int, len(jobs))
	for i, j := range jobs {
		go func() { <-j.finished; ended <- i }()
	}
	for range jobs {
		i := <-ended
		dropIfDead(jobs[i])
		e := event{Answer: s.reply(jobs[i])}
		if c.list {
			e.Index = &i
		}
		var said any = e
		if c.dialect != nil {
			said = c.dialect.Event(s.profile.Model, i, e.Answer)
		}
		_, _ = fmt.Fprintf(w, "data: %s\n\n", marshal(said))
		_ = flusher.Flush() // an error means that the client has gone, and its prompts will be aborted
	}
	_, _ = fmt.Fprint(w, "data: [DONE]\n\n")
}

// streamError reports an error in a stream, with status 200 as SGLang does.
func streamError(w http.ResponseWriter, ref *refusal) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	_, _ = fmt.Fprintf(w, "data: %s\n\ndata: [DONE]\n\n", marshal(map[string]any{"error": map[string]any{
		"message": ref.message(), "type": "invalid_request_error", "code": ref.status, "retryable": false,
	}}))
}

// refuse writes an error answer. For a stream it is an event with status 200.
func (s *Server) refuse(w http.ResponseWriter, err error, c *call) {
	var ref *refusal
	if !errors.As(err, &ref) {
		ref = internalError()
	}
	switch {
	case ref.plain:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(ref.status)
		_, _ = w.Write(ref.body)
	case c.stream:
		streamError(w, ref)
	case c.dialect != nil && c.dialect.OpenAI:
		writeJSON(w, ref.status, map[string]any{
			"object": "error", "message": ref.message(), "type": "BadRequestError", "param": nil, "code": ref.status,
		})
	default:
		writeRaw(w, ref.status, ref.body)
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) { writeRaw(w, status, marshal(v)) }

func writeRaw(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // an error means that the client has gone
}

// reply returns the answer to one prompt whose job has ended.
func (s *Server) reply(j *job) sglang.Answer {
	a := sglang.Answer{OutputIDs: generated(j.tokens, j.made, s.profile.VocabSize), Meta: sglang.MetaInfo{
		ID: j.rid, CompletionTokens: j.made, WeightVersion: "default", FinishReason: finishReason(j),
		E2ELatency: s.clock.simulated(j.ended.Sub(j.arrived)),
	}}
	for _, id := range a.OutputIDs {
		a.Text += word(id)
	}
	if j.started.IsZero() { // SGLang reports no more for a request aborted in its queue (tokenizer_manager.py, _handle_abort_req)
		return a
	}
	a.Meta.PromptTokens, a.Meta.CachedTokens = len(j.tokens), j.cached
	a.Meta.QueueTime = s.clock.simulated(j.started.Sub(j.ready))
	if j.cached > 0 {
		a.Meta.CachedTokensDetails = &sglang.CachedDetails{Device: j.cached}
	}
	if j.logprob && !j.aborted {
		j.logprobs(&a)
	}
	return a
}

func finishReason(j *job) *sglang.FinishReason {
	switch {
	case !j.aborted:
		return &sglang.FinishReason{Type: "length", Length: &j.made}
	case j.started.IsZero():
		return &sglang.FinishReason{Type: "abort", Message: "Abort in waiting queue"}
	}
	return &sglang.FinishReason{Type: "abort", Message: "Aborted", StatusCode: []byte("null")}
}

// logprobs makes up log probabilities. They are the same for the same tokens, and have no
// other meaning.
func (p *prompt) logprobs(a *sglang.Answer) {
	m := &a.Meta
	m.InputTokenLogprobs, m.OutputTokenLogprobs = []sglang.TokenLogprob{}, []sglang.TokenLogprob{}
	// rows adds the requested rows of a position. The first position of a prompt has null.
	rows := func(top, ids *[][]sglang.TokenLogprob, place int, known bool) {
		var likely, chosen []sglang.TokenLogprob
		for k := 0; known && k < p.topLogprobs; k++ {
			v := -1 - float64(k)
			likely = append(likely, sglang.TokenLogprob{ID: place + k, Logprob: &v})
		}
		for k := 0; known && k < len(p.idLogprobs); k++ {
			chosen = append(chosen, sglang.TokenLogprob{ID: int(p.idLogprobs[k]), Logprob: fakeLogprob(p.idLogprobs[k], place)})
		}
		if p.topLogprobs > 0 {
			*top = append(*top, likely)
		}
		if len(p.idLogprobs) > 0 {
			*ids = append(*ids, chosen)
		}
	}
	for i := p.logprobStart; i >= 0 && i < len(p.tokens); i++ {
		t := sglang.TokenLogprob{ID: int(p.tokens[i])}
		if i > p.logprobStart {
			t.Logprob = fakeLogprob(p.tokens[i], i)
		}
		m.InputTokenLogprobs = append(m.InputTokenLogprobs, t)
		rows(&m.InputTopLogprobs, &m.InputIDsLogprobs, i, i > p.logprobStart)
	}
	for i, id := range a.OutputIDs {
		m.OutputTokenLogprobs = append(m.OutputTokenLogprobs, sglang.TokenLogprob{ID: int(id), Logprob: fakeLogprob(id, len(p.tokens)+i)})
	}
	rows(&m.OutputTopLogprobs, &m.OutputIDsLogprobs, len(p.tokens), true) // answered even at 0 new tokens
}

func fakeLogprob(id int32, place int) *float64 {
	v := -0.5 - math.Mod(float64(id)*0.37+float64(place)*0.11, 11)
	return &v
}

// generated makes up n tokens after a prompt. They depend on the whole prompt, so that the
// answer to another prompt is never right by chance.
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
