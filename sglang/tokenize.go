package sglang

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// Tokenize asks the server for the token ids of a text, as it would compute
// them for a prompt.
func (c *Client) Tokenize(ctx context.Context, text string) ([]int32, error) {
	const path = "/tokenize"
	where := http.MethodPost + " " + path
	body, err := json.Marshal(map[string]string{"prompt": text})
	if err != nil {
		return nil, fmt.Errorf("sglang: tokenize: %w", err)
	}
	data, header, err := c.exchange(ctx, http.MethodPost, path, body)
	if err != nil {
		return nil, err
	}
	if err := wantType(jsonType, where, header); err != nil {
		return nil, err
	}
	var answer struct {
		Tokens []int32 `json:"tokens"`
	}
	if err := json.Unmarshal(data, &answer); err != nil || answer.Tokens == nil {
		return nil, &Error{Where: where, Status: http.StatusOK, Kind: KindProtocol, Message: "the answer is not the expected JSON"}
	}
	return answer.Tokens, nil
}
