package sglang

import (
	"errors"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// This file has the JSON of the answers of SGLang 0.5.23. The client and the simulator
// use the same types, so they can't drift apart. encode.go has the JSON of requests, and
// errors.go the shapes of refusals.

// Answer is the answer to one prompt.
type Answer struct {
	Text      string   `json:"text"`
	OutputIDs []int32  `json:"output_ids"`
	Meta      MetaInfo `json:"meta_info"`

	Raw []byte `json:"-"` // as the server wrote it, if Request.KeepRaw asked for it
}

// MetaInfo is the meta_info of one answer. Times are in seconds.
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

// FinishReason says why generation ended: "length", "stop" or "abort".
type FinishReason struct {
	Type       string         `json:"type"`
	Length     *int           `json:"length,omitempty"`      // tokens generated; absent for abort
	Message    string         `json:"message,omitempty"`     // abort only
	StatusCode jsontext.Value `json:"status_code,omitempty"` // abort only; number or null
}

// CachedDetails says where cached tokens were found. SGLang answers null if there are none.
type CachedDetails struct {
	Device int `json:"device"`
	Host   int `json:"host"`
}

// TokenLogprob is SGLang's triple [logprob, id, text]. Logprob is null for the first token
// of a prompt. Text is null unless it was asked for.
type TokenLogprob struct {
	Logprob *float64
	ID      int
	Text    *string
}

// UnmarshalJSONFrom reads the triple. The text may be missing.
func (t *TokenLogprob) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.PeekKind() != '[' {
		return errNoTriple
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	*t = TokenLogprob{}
	for i, part := range []any{&t.Logprob, &t.ID, &t.Text} {
		if i == 2 && d.PeekKind() == ']' {
			break
		}
		if err := json.UnmarshalDecode(d, part); err != nil {
			return err
		}
	}
	end, err := d.ReadToken()
	if err == nil && end.Kind() != ']' {
		return errNoTriple
	}
	return err
}

var errNoTriple = errors.New("a log probability: expected [logprob, id, text]")

// MarshalJSON writes the triple.
func (t TokenLogprob) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{t.Logprob, t.ID, t.Text})
}

// ServerInfo is the part of /server_info that is used.
type ServerInfo struct {
	Version            string         `json:"version"`
	Status             string         `json:"status"`
	ModelPath          string         `json:"model_path"`
	ServedModelName    string         `json:"served_model_name"`
	Device             string         `json:"device"`
	Dtype              string         `json:"dtype"`
	SchedulePolicy     string         `json:"schedule_policy"`
	MaxReqInputLen     int            `json:"max_req_input_len"`    // tokens of a prompt that is refused: one more than the max
	MaxTotalNumTokens  int            `json:"max_total_num_tokens"` // capacity of the KV cache, tokens
	ChunkedPrefillSize int            `json:"chunked_prefill_size"` // tokens in one forward
	MaxPrefillTokens   int            `json:"max_prefill_tokens"`
	MaxRunningRequests int            `json:"max_running_requests"`
	DPSize             int            `json:"dp_size"`
	TokenizerWorkerNum int            `json:"tokenizer_worker_num"` // processes of the front end
	SkipTokenizerInit  bool           `json:"skip_tokenizer_init"`  // it takes ids only, and answers no text
	DisableRadixCache  bool           `json:"disable_radix_cache"`
	EnableMIS          bool           `json:"enable_mis"`     // /v1/score puts all items in one prompt
	ContextLength      *int           `json:"context_length"` // null unless set at start
	StartupTime        *StartupTime   `json:"startup_time"`
	Simulator          *SimulatorInfo `json:"simulator"` // only our simulator sends it
}

// StartupTime says how long the server took to start.
type StartupTime struct {
	LoadWeight float64 `json:"load_weight"` // seconds
}

// SimulatorInfo says that a server is simulated, and how.
type SimulatorInfo struct {
	Profile   string  `json:"profile"`
	Origin    string  `json:"origin"` // where the profile's numbers come from
	Speed     float64 `json:"speed"`  // simulated seconds per real second
	VocabSize int     `json:"vocab_size"`
}

// Model is one entry of /v1/models.
type Model struct {
	ID          string `json:"id"`
	MaxModelLen int    `json:"max_model_len"` // tokens: the context length
}

// Load is the server's report of its work, summed over data-parallel ranks.
type Load struct {
	NumRunning                 int   `json:"num_running_reqs"`
	NumWaiting                 int   `json:"num_waiting_reqs"`
	TotalPrefillUncachedTokens int64 `json:"total_prefill_uncached_tokens"` // tokens computed since the start
	TotalPrefillBusyMicros     int64 `json:"total_prefill_busy_us"`         // microseconds spent computing them
}
