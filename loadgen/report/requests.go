package report

import (
	"encoding/json"
	"fmt"
	"io"
)

// Request is a line of requests.jsonl: how one request of a sweep ended. It tells
// nothing of the prompt but whose it is.
type Request struct {
	Setting    string `json:"setting"`
	Phase      string `json:"phase"`
	Repeat     int    `json:"repeat"`
	Trajectory string `json:"trajectory"`
	Kind       string `json:"kind,omitempty"` // of a mix: first, turns or rollouts

	SentSeconds    float64 `json:"sent_seconds"`    // from the beginning of its run
	LatencySeconds float64 `json:"latency_seconds"` // from the send to the end

	IntendedSeconds            float64 `json:"intended_seconds"`              // when it was due, from the beginning of its run
	LatencyFromIntendedSeconds float64 `json:"latency_from_intended_seconds"` // from then to the end

	Dropped bool   `json:"dropped,omitempty"` // it was due and not sent: only when it was due tells something
	WarmUp  bool   `json:"warm_up,omitempty"` // it is in no figure of the report
	Error   string `json:"error,omitempty"`   // its cause in a word; absent for an answer

	PromptTokens     int     `json:"prompt_tokens"` // as the server counted
	CachedTokens     int     `json:"cached_tokens"`
	BatchID          string  `json:"batch_id,omitempty"` // by the receipt; absent for direct
	BatchSize        int     `json:"batch_size,omitempty"`
	ReleaseReason    string  `json:"release_reason,omitempty"`
	QueueWaitSeconds float64 `json:"queue_wait_seconds,omitempty"`
	TraceID          string  `json:"trace_id,omitempty"` // absent where it was not sampled
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
