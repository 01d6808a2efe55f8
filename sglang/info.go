package sglang

import (
	"context"
	"net/http"
)

// ServerInfo is what /server_info tells, as far as it is used.
type ServerInfo struct {
	Version            string         `json:"version"`
	Status             string         `json:"status"`
	ModelPath          string         `json:"model_path"`
	ServedModelName    string         `json:"served_model_name"`
	Device             string         `json:"device"`
	Dtype              string         `json:"dtype"`
	SchedulePolicy     string         `json:"schedule_policy"`
	MaxReqInputLen     int            `json:"max_req_input_len"`    // tokens: longest prompt
	MaxTotalNumTokens  int            `json:"max_total_num_tokens"` // tokens the KV cache holds
	ChunkedPrefillSize int            `json:"chunked_prefill_size"` // tokens in one forward
	MaxPrefillTokens   int            `json:"max_prefill_tokens"`
	MaxRunningRequests int            `json:"max_running_requests"`
	ContextLength      *int           `json:"context_length"` // null unless it was set at start
	StartupTime        *StartupTime   `json:"startup_time"`
	Simulator          *SimulatorInfo `json:"simulator"` // only our simulator sends it
}

// StartupTime is how long the server took to start.
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

// ModelInfo is what /model_info tells, as far as it is used.
type ModelInfo struct {
	ModelPath       string `json:"model_path"`
	TokenizerPath   string `json:"tokenizer_path"`
	ServedModelName string `json:"served_model_name"`
	ModelType       string `json:"model_type"`
	WeightVersion   string `json:"weight_version"`
	IsGeneration    bool   `json:"is_generation"`
}

// Model is one entry of /v1/models.
type Model struct {
	ID          string `json:"id"`
	MaxModelLen int    `json:"max_model_len"` // tokens: the context length
}

// Load is the server's own account of its work, summed over data-parallel
// ranks.
type Load struct {
	NumRunning                 int   // requests
	NumWaiting                 int   // requests
	TotalPrefillUncachedTokens int64 // tokens computed since the start
	TotalPrefillBusyMicros     int64 // microseconds spent computing them
}

// Ready reports nil when the server says that it is ready. It costs no forward,
// unlike /health.
func (c *Client) Ready(ctx context.Context) error {
	_, _, err := c.exchange(ctx, http.MethodGet, "/ready", nil)
	return err
}

// ServerInfo reads /server_info.
func (c *Client) ServerInfo(ctx context.Context) (ServerInfo, error) {
	var info ServerInfo
	err := c.getJSON(ctx, "/server_info", &info)
	return info, err
}

// ModelInfo reads /model_info.
func (c *Client) ModelInfo(ctx context.Context) (ModelInfo, error) {
	var info ModelInfo
	err := c.getJSON(ctx, "/model_info", &info)
	return info, err
}

// Models reads /v1/models.
func (c *Client) Models(ctx context.Context) ([]Model, error) {
	var list struct {
		Data []Model `json:"data"`
	}
	err := c.getJSON(ctx, "/v1/models", &list)
	return list.Data, err
}

// Loads reads /v1/loads.
func (c *Client) Loads(ctx context.Context) (Load, error) {
	var answer struct {
		Loads []struct {
			Running  int   `json:"num_running_reqs"`
			Waiting  int   `json:"num_waiting_reqs"`
			Uncached int64 `json:"total_prefill_uncached_tokens"`
			Busy     int64 `json:"total_prefill_busy_us"`
		} `json:"loads"`
	}
	if err := c.getJSON(ctx, "/v1/loads", &answer); err != nil {
		return Load{}, err
	}
	var sum Load
	for _, rank := range answer.Loads {
		sum.NumRunning += rank.Running
		sum.NumWaiting += rank.Waiting
		sum.TotalPrefillUncachedTokens += rank.Uncached
		sum.TotalPrefillBusyMicros += rank.Busy
	}
	return sum, nil
}
