package sglang

import (
	"encoding/json"
	"fmt"
)

// The JSON that SGLang 0.5.23 speaks, kept in this one file. Client and
// simulator both use these types, so they can't drift apart.

// MetaInfo is the meta_info of one answer. Times are seconds.
type MetaInfo struct {
	ID                  string           `json:"id"`
	FinishReason        *FinishReason    `json:"finish_reason"`
	PromptTokens        int              `json:"prompt_tokens"`
	CompletionTokens    int              `json:"completion_tokens"`
	CachedTokens        int              `json:"cached_tokens"`
	CachedTokensDetails *CachedDetails   `json:"cached_tokens_details"`
	WeightVersion       string           `json:"weight_version,omitempty"`
	QueueTime           float64          `json:"queue_time,omitempty"`  // seconds; only with --enable-metrics
	E2ELatency          float64          `json:"e2e_latency,omitempty"` // seconds
	InputTokenLogprobs  []TokenLogprob   `json:"input_token_logprobs,omitempty"`
	OutputTokenLogprobs []TokenLogprob   `json:"output_token_logprobs,omitempty"`
	InputTopLogprobs    [][]TokenLogprob `json:"input_top_logprobs,omitempty"`
	OutputTopLogprobs   [][]TokenLogprob `json:"output_top_logprobs,omitempty"`
	InputIDsLogprobs    [][]TokenLogprob `json:"input_token_ids_logprobs,omitempty"`
	OutputIDsLogprobs   [][]TokenLogprob `json:"output_token_ids_logprobs,omitempty"`
}

// FinishReason is why generation ended: "length", "stop" or "abort".
type FinishReason struct {
	Type       string          `json:"type"`
	Length     *int            `json:"length,omitempty"`      // tokens generated; absent for abort
	Message    string          `json:"message,omitempty"`     // abort only
	StatusCode json.RawMessage `json:"status_code,omitempty"` // abort only; number or null
}

// CachedDetails says where cached tokens lay; SGLang answers null when there are none.
type CachedDetails struct {
	Device int `json:"device"`
	Host   int `json:"host"`
}

// TokenLogprob is SGLang's triple [logprob, id, text]. Logprob is null for the
// first token of a prompt; text is null unless asked for.
type TokenLogprob struct {
	Logprob *float64
	ID      int
	Text    *string
}

// UnmarshalJSON reads the triple; the text may be missing.
func (t *TokenLogprob) UnmarshalJSON(data []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(data, &parts); err != nil {
		return err
	}
	*t = TokenLogprob{}
	if len(parts) < 2 || len(parts) > 3 {
		return fmt.Errorf("a log probability has %d parts, expected [logprob, id, text]", len(parts))
	}
	if err := json.Unmarshal(parts[0], &t.Logprob); err != nil {
		return err
	}
	if err := json.Unmarshal(parts[1], &t.ID); err != nil {
		return err
	}
	if len(parts) == 3 {
		return json.Unmarshal(parts[2], &t.Text)
	}
	return nil
}

// MarshalJSON writes the triple.
func (t TokenLogprob) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{t.Logprob, t.ID, t.Text})
}
