package sglang

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"unicode/utf8"
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
	KeepRaw      bool            // whether Answer.Raw is wanted (by Generate, not by GenerateEach)
}

// Sampling is how generated tokens are chosen. Fields that are nil are left to
// the server, but for the temperature: nil is 0, greedy.
type Sampling struct {
	Temperature, TopP, MinP *float32
	TopK                    *int32
	Seed                    *int64
	LogitBias               map[int32]float32

	// Raw is the whole sampling_params object as JSON, and then all that is sent;
	// MaxNewTokens stays what it says there.
	Raw json.RawMessage
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

	Raw json.RawMessage `json:"-"` // as the server wrote it, where Request.KeepRaw asked for it
}

// Result is what became of one prompt of a list.
type Result struct {
	Answer Answer
	Err    error // this prompt's own error, an *Error; the list is otherwise well
}

const generatePath = "/generate"

// Generate sends a list in one call and returns one result for each request, in
// the order of the requests. An error means that the whole list failed: with
// KindRejected because of an item that SGLang does not name, or, with status 0,
// because of one that was not sent, and which the message names by index.
func (c *Client) Generate(ctx context.Context, call Call) ([]Result, error) {
	b := newBody()
	defer b.release()
	if err := b.encode(call, false); err != nil {
		return nil, err
	}
	data, header, err := c.transfer(ctx, http.MethodPost, generatePath, b)
	if err != nil {
		return nil, err
	}
	if err := wantType(jsonType, generateWhere, header); err != nil {
		return nil, err
	}
	return decodeResults(data, call.Requests)
}

const generateWhere = http.MethodPost + " " + generatePath

// check refuses, as KindRejected, what SGLang 0.5.23 does not survive (an empty
// prompt or list element, a negative id) and what JSON can't carry. Ids beyond
// the vocabulary, whose size no endpoint tells, are the caller's to refuse.
func (call Call) check() error {
	if len(call.Requests) == 0 {
		return refused("requests: an empty list")
	}
	if !utf8.ValidString(call.LoRA) {
		return refused("lora_path: not valid UTF-8")
	}
	ids := call.Requests[0].InputIDs != nil
	for i := range call.Requests {
		r := &call.Requests[i]
		if (r.InputIDs != nil) != ids {
			return refusedItem(i, ": text and input_ids in one list")
		}
		if problem := r.problem(); problem != "" {
			return refusedItem(i, "."+problem)
		}
	}
	return nil
}

// problem is the field that is wrong and why, or "".
func (r *Request) problem() string {
	switch {
	case r.Text != "" && r.InputIDs != nil:
		return "text: given beside input_ids"
	case r.InputIDs != nil && len(r.InputIDs) == 0:
		return "input_ids: empty"
	case r.Text == "" && r.InputIDs == nil:
		return "text: empty"
	case !utf8.ValidString(r.Text):
		return "text: not valid UTF-8"
	case len(r.InputIDs) > 0 && slices.Min(r.InputIDs) < 0:
		return "input_ids: holds a negative id"
	case r.RID == "":
		return "rid: empty"
	case !utf8.ValidString(r.RID):
		return "rid: not valid UTF-8"
	case !utf8.ValidString(r.CacheSalt):
		return "cache_salt: not valid UTF-8"
	case !r.Sampling.finite():
		return "sampling_params: holds a number that is not finite"
	}
	return ""
}

func (s *Sampling) finite() bool {
	for _, x := range []*float32{s.Temperature, s.TopP, s.MinP} {
		if x != nil && !finite(*x) {
			return false
		}
	}
	for _, x := range s.LogitBias {
		if !finite(x) {
			return false
		}
	}
	return true
}

func finite(x float32) bool { return x >= -math.MaxFloat32 && x <= math.MaxFloat32 }

func refusedItem(i int, problem string) *Error {
	e := refused(fmt.Sprintf("requests[%d]%s", i, problem))
	e.Item = i + 1
	return e
}

// refused is the error of a call that was not sent.
func refused(problem string) *Error {
	return &Error{Where: generateWhere, Kind: KindRejected, Message: problem}
}
