package sglang

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// Call is one list for /generate. What SGLang takes once for a whole list, and
// not per item, stands here: requests that differ in it can't share a call.
type Call struct {
	Requests []Request // at least one; all with Text, or all with InputIDs
	Priority *int32    // higher first; nil leaves it to the server
	LoRA     string    // adapter; "" is the base model
}

// Request is one prompt of a list.
type Request struct {
	RID          string // unique among all requests at the server: see NewRID
	Text         string // exactly one of Text and InputIDs
	InputIDs     []int32
	MaxNewTokens int
	Sampling     Sampling
	Logprobs     *LogprobOptions // nil asks for none
	CacheSalt    string          // "" is the common cache
}

// Sampling is how generated tokens are chosen. Fields that are nil are left to
// the server, but for the temperature: nil is 0, greedy.
type Sampling struct {
	Temperature, TopP, MinP *float32
	TopK                    *int32
	Seed                    *int64
	LogitBias               map[int32]float32
}

// LogprobOptions is which log probabilities are answered.
type LogprobOptions struct {
	PromptStart *int // from this position of the prompt on; nil: none of the prompt's
	TopK        int
	TokenIDs    []int32
}

// Answer is the answer to one prompt.
type Answer struct {
	Text      string   `json:"text"`
	OutputIDs []int32  `json:"output_ids"`
	Meta      MetaInfo `json:"meta_info"`
}

// Result is what became of one prompt of a list.
type Result struct {
	Answer Answer
	Err    error // this prompt's own error, an *Error; the list is otherwise well
}

const generatePath = "/generate"

// Generate sends a list in one call and returns one result for each request, in
// the order of the requests. An error means that the whole list failed: with
// KindRejected because of an item that SGLang does not name.
func (c *Client) Generate(ctx context.Context, call Call) ([]Result, error) {
	body, err := encodeCall(call)
	if err != nil {
		return nil, err
	}
	data, header, err := c.exchange(ctx, http.MethodPost, generatePath, body)
	if err != nil {
		return nil, err
	}
	if err := wantJSON(generateWhere, header); err != nil {
		return nil, err
	}
	return decodeResults(data, call.Requests)
}

const generateWhere = http.MethodPost + " " + generatePath

// check refuses a call that the encoding could not carry faithfully.
func (call Call) check() error {
	if len(call.Requests) == 0 {
		return errors.New("sglang: generate: an empty list")
	}
	ids := call.Requests[0].InputIDs != nil
	for i, r := range call.Requests {
		switch {
		case (r.InputIDs != nil) != ids:
			return fmt.Errorf("sglang: generate: requests[%d]: text and input_ids in one list", i)
		case r.Text != "" && ids:
			return fmt.Errorf("sglang: generate: requests[%d]: both text and input_ids", i)
		case r.Text == "" && len(r.InputIDs) == 0:
			return fmt.Errorf("sglang: generate: requests[%d]: an empty prompt", i) // it would stop the server
		case r.RID == "":
			return fmt.Errorf("sglang: generate: requests[%d]: no rid", i)
		}
	}
	return nil
}
