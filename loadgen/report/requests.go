package report

import (
	"encoding/json"
	"fmt"
	"io"
)

// Request is a line of requests.jsonl: the outcome of one request. It holds nothing of the prompt but
// the name of its trajectory.
type Request struct {
	Setting string `json:"setting"` // the batch size, "defaults", "unbatched" or "direct", with what else varies
	Phase   string `json:"phase"`   // cold or warm
	Repeat  int    `json:"repeat"`  // from 1

	Rate       float64 `json:"rate,omitempty"` // of its run; of loadgen find only
	Trajectory string  `json:"trajectory"`     // its name; #2 and so on for copies

	SentSeconds    float64 `json:"sent_seconds"`    // from the start of its run
	LatencySeconds float64 `json:"latency_seconds"` // from the send to the end

	FirstTokenSeconds float64 `json:"first_token_seconds,omitempty"` // from the send to the first token; of streams

	IntendedSeconds            float64 `json:"intended_seconds"`              // when it was due, from the start of its run
	LatencyFromIntendedSeconds float64 `json:"latency_from_intended_seconds"` // from when it was due to the end

	Dropped bool   `json:"dropped,omitempty"` // it was due but not sent; only intended_seconds has a meaning
	WarmUp  bool   `json:"warm_up,omitempty"` // in no figure of the report
	Error   string `json:"error,omitempty"`   // short name of the cause; absent if answered

	PromptTokens     int     `json:"prompt_tokens"`                // as the server counted
	CachedTokens     int     `json:"cached_tokens"`                // of these, from its prefix cache; 0 if answers don't tell
	Questions        int     `json:"questions,omitempty"`          // about one state, each a prompt; absent: one prompt
	OutputTokens     int     `json:"output_tokens,omitempty"`      // generated; of streams
	BatchID          string  `json:"batch_id,omitempty"`           // from the receipt; absent for direct
	BatchSize        int     `json:"batch_size,omitempty"`         // requests in its batch, from the receipt
	ReleaseReason    string  `json:"release_reason,omitempty"`     // why the batch left the proxy
	QueueWaitSeconds float64 `json:"queue_wait_seconds,omitempty"` // in the proxy
	TraceID          string  `json:"trace_id,omitempty"`           // absent if not sampled
}

// WriteRequests writes requests as JSON lines.
func WriteRequests(w io.Writer, all []Request) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for _, r := range all {
		if err := e.Encode(r); err != nil {
			return fmt.Errorf("requests.jsonl: %w", err)
		}
	}
	return nil
}
