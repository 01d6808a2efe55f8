package sim

import (
	"encoding/json"
	"fmt"
	"net/http"

	"paceline/sglang"
)

// event is one event of a streamed answer; a list's events name their place.
type event struct {
	sglang.Answer
	Index *int `json:"index,omitempty"`
}

// stream writes an event for each prompt as it ends, and then [DONE]. A real
// server sends one for each token; for prefill that is the same.
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
		e := event{Answer: s.reply(c.prompts[i], jobs[i])}
		if c.list {
			e.Index = &i
		}
		_, _ = fmt.Fprintf(w, "data: %s\n\n", marshal(e))
		_ = flusher.Flush() // an error means that the client has gone: all its prompts end soon
	}
	_, _ = fmt.Fprint(w, "data: [DONE]\n\n")
}

// streamError reports an error in a stream: under status 200, as SGLang does.
func streamError(w http.ResponseWriter, ref *refusal) {
	var shape struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	_ = json.Unmarshal(ref.body, &shape) // other shapes have no message to carry
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	_, _ = fmt.Fprintf(w, "data: %s\n\ndata: [DONE]\n\n", marshal(map[string]any{"error": map[string]any{
		"message": shape.Error.Message, "type": "invalid_request_error", "code": ref.status, "retryable": false,
	}}))
}
