package sglang

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
)

// Ready returns nil if the server says that it is ready. It costs no forward, unlike
// /health. A server without /ready, before 0.5.20, is ready when it tells its model. Ready
// does not ask it for /ready again, until it does not answer.
func (c *Client) Ready(ctx context.Context) error {
	if !c.older.Load() {
		_, _, err := c.exchange(ctx, http.MethodGet, "/ready", nil)
		if e := new(Error); !errors.As(err, &e) || e.Status != http.StatusNotFound {
			return err
		}
	}
	_, _, err := c.exchange(ctx, http.MethodGet, "/model_info", nil)
	c.older.Store(err == nil)
	return err
}

// ServerInfo reads /server_info.
func (c *Client) ServerInfo(ctx context.Context) (info ServerInfo, err error) {
	err = c.callJSON(ctx, http.MethodGet, "/server_info", nil, &info)
	return info, err
}

// Models reads /v1/models.
func (c *Client) Models(ctx context.Context) ([]Model, error) {
	var list struct {
		Data []Model `json:"data"`
	}
	err := c.callJSON(ctx, http.MethodGet, "/v1/models", nil, &list)
	return list.Data, err
}

// Generates reports whether the served model generates. One that does not embeds or
// classifies.
func (c *Client) Generates(ctx context.Context) (bool, error) {
	info := struct {
		Generates bool `json:"is_generation"`
	}{true}
	err := c.callJSON(ctx, http.MethodGet, "/model_info", nil, &info)
	return info.Generates, err
}

// Loads reads /v1/loads.
func (c *Client) Loads(ctx context.Context) (sum Load, err error) {
	var answer struct {
		Loads []Load `json:"loads"`
	}
	err = c.callJSON(ctx, http.MethodGet, "/v1/loads", nil, &answer)
	for _, rank := range answer.Loads {
		sum.NumRunning += rank.NumRunning
		sum.NumWaiting += rank.NumWaiting
		sum.TotalPrefillUncachedTokens += rank.TotalPrefillUncachedTokens
		sum.TotalPrefillBusyMicros += rank.TotalPrefillBusyMicros
	}
	return sum, err
}

// Tokenize returns the token ids that the server computes for the text of a prompt.
func (c *Client) Tokenize(ctx context.Context, text string) ([]int32, error) {
	body, err := json.Marshal(map[string]string{"prompt": text})
	if err != nil {
		return nil, err
	}
	return c.TokenizeChat(ctx, body)
}

// TokenizeChat returns the token ids of the prompt that the server makes of a chat. body is
// that of a chat completion.
func (c *Client) TokenizeChat(ctx context.Context, body []byte) ([]int32, error) {
	const path = "/tokenize"
	var answer struct {
		Tokens []int32 `json:"tokens"`
	}
	err := c.callJSON(ctx, http.MethodPost, path, body, &answer)
	if err == nil && answer.Tokens == nil {
		err = notExpectedJSON(http.MethodPost + " " + path)
	}
	return answer.Tokens, err
}

// FlushCache empties the prefix cache. The server waits up to timeout (0: not at all) for
// running work to end. If some is still running, it refuses, and the error has KindBusy.
func (c *Client) FlushCache(ctx context.Context, timeout time.Duration) error {
	path := "/flush_cache"
	if timeout > 0 {
		path += "?timeout=" + strconv.FormatFloat(timeout.Seconds(), 'f', -1, 64)
	}
	_, _, err := c.exchange(ctx, http.MethodPost, path, nil)
	var refused *Error
	if errors.As(err, &refused) && refused.Status == http.StatusBadRequest {
		refused.Kind = KindBusy
	}
	return err
}

// Abort ends the work for one request id. The server aborts every id that begins with
// rid. It answers 200 even if it knows none.
func (c *Client) Abort(ctx context.Context, rid string) error {
	if rid == "" {
		return errors.New("sglang: abort: empty rid would abort everything")
	}
	body, err := json.Marshal(map[string]string{"rid": rid})
	if err != nil {
		return err
	}
	_, _, err = c.exchange(ctx, http.MethodPost, "/abort_request", body)
	return err
}

// maxModelConfigBytes is the max size of a model's config.json. Real ones have a few KiB.
const maxModelConfigBytes = 1 << 20

// VocabSize returns the number of token ids that the served model knows, or 0 if it is
// unknown. No endpoint of SGLang 0.5.23 reports it. The simulator does, and so does
// config.json in the model's folder if the proxy and SGLang share a disk.
func VocabSize(info ServerInfo) int {
	if info.Simulator != nil {
		return info.Simulator.VocabSize
	}
	if !filepath.IsAbs(info.ModelPath) {
		return 0 // a name on a model hub, or a folder relative to SGLang's own
	}
	f, err := os.Open(filepath.Join(info.ModelPath, "config.json"))
	if err != nil {
		return 0
	}
	defer f.Close() //nolint:errcheck // only read
	var config struct {
		VocabSize  int `json:"vocab_size"`
		TextConfig struct {
			VocabSize int `json:"vocab_size"`
		} `json:"text_config"` // of models with several parts
	}
	data, err := io.ReadAll(io.LimitReader(f, maxModelConfigBytes))
	if err != nil || json.Unmarshal(data, &config, tolerant) != nil {
		return 0
	}
	if config.VocabSize > 0 {
		return config.VocabSize
	}
	return max(0, config.TextConfig.VocabSize)
}
