package sglang

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"math"
	"net/http"
	"slices"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Call is one list for /generate. SGLang takes Priority and LoRA once for a whole list, so
// requests that differ in them can't share a call.
type Call struct {
	Requests []Request // at least one; all with Text, or all with InputIDs
	Priority *int32    // higher first; nil leaves it to the server
	LoRA     string    // adapter; "" means the base model
}

// Request is one prompt of a list.
type Request struct {
	RID          string // unique among all requests at the server; see NewRID
	Text         string // exactly one of Text and InputIDs
	InputIDs     []int32
	MaxNewTokens int
	Sampling     Sampling
	Logprobs     *LogprobOptions // nil asks for none
	CacheSalt    string          // "" means the common cache
	KeepRaw      bool            // Generate sets Answer.Raw; GenerateEach does not
}

// NewRID returns a new request id: 32 random hexadecimal digits, like SGLang's own. All
// have the same length, because an abort matches by prefix. They have no underscore,
// because SGLang's traces cut an id there.
func NewRID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: see crypto/rand
	return hex.EncodeToString(b[:])
}

// Sampling says how generated tokens are chosen. A nil field means the server's default,
// except for the temperature, where nil means 0 (greedy).
type Sampling struct {
	Temperature, TopP, MinP *float32
	TopK                    *int32
	Seed                    *int64
	LogitBias               map[int32]float32

	// Raw, if not nil, is the whole sampling_params object as JSON, and the other
	// fields are not sent. MaxNewTokens must agree with it.
	Raw []byte
}

// LogprobOptions says which log probabilities to return.
type LogprobOptions struct {
	PromptStart *int // first position in the prompt; nil: none of the prompt
	TopK        int
	TokenIDs    []int32
}

// Result is the outcome of one prompt of a list.
type Result struct {
	Answer Answer
	Err    error // this prompt's own error, an *Error; other prompts may have answers
}

const (
	generatePath  = "/generate"
	generateWhere = http.MethodPost + " " + generatePath
)

// Generate sends a list in one call and returns one result for each request, in the order
// of the requests. An error means that the whole list failed. KindRejected with a status
// means that SGLang refused an item without naming it. KindRejected with status 0 means
// that nothing was sent; the message names the item by index.
func (c *Client) Generate(ctx context.Context, call Call) ([]Result, error) {
	b := newBody()
	defer b.release()
	if err := b.encode(call, false); err != nil {
		return nil, err
	}
	data, header, err := c.exchangeBody(ctx, http.MethodPost, generatePath, b)
	if err != nil {
		return nil, err
	}
	if err := wantType(jsonType, generateWhere, header); err != nil {
		return nil, err
	}
	return decodeResults(data, call.Requests)
}

// item is one element of the answer to a list: an answer, or (Rust server) an error.
type item struct {
	Answer
	Error *itemError `json:"error"`
}

type itemError struct {
	Message string         `json:"message"`
	Code    jsontext.Value `json:"code"`
}

// decodeResults reads the answer to a list. The elements are in the order of the requests.
// If the order differs, the rid that each element names decides.
func decodeResults(data []byte, requests []Request) ([]Result, error) {
	items, err := decodeItems(data, requests)
	if err != nil {
		return nil, protocolError(generateWhere, "the answer is not the expected list")
	}
	if len(items) != len(requests) {
		return nil, protocolError(generateWhere, fmt.Sprintf("the answer holds %d elements for %d requests", len(items), len(requests)))
	}
	places, err := placesOf(items, requests)
	if err != nil {
		return nil, err
	}
	results := make([]Result, len(requests))
	for i := range items {
		results[places[i]] = items[i].result()
	}
	return results, nil
}

func decodeItems(data []byte, requests []Request) ([]item, error) {
	items := make([]item, 0, len(requests))
	if !slices.ContainsFunc(requests, func(r Request) bool { return r.KeepRaw }) {
		return items, json.Unmarshal(data, &items, tolerant)
	}
	var raw []jsontext.Value
	if err := json.Unmarshal(data, &raw, tolerant); err != nil {
		return nil, err
	}
	for _, element := range raw {
		var it item
		if err := json.Unmarshal(element, &it, tolerant); err != nil {
			return nil, err
		}
		it.Raw = element
		items = append(items, it)
	}
	return items, nil
}

// placesOf returns the index of the request of each element. A failed element names no rid
// and belongs to the request at its own index.
func placesOf(items []item, requests []Request) ([]int, error) {
	places := make([]int, len(items))
	inOrder := true
	for i, it := range items {
		places[i] = i
		inOrder = inOrder && (it.Error != nil || it.Meta.ID == requests[i].RID)
	}
	if inOrder {
		return places, nil
	}
	byRID := make(map[string]int, len(requests))
	for i, r := range requests {
		byRID[r.RID] = i
	}
	for i, it := range items {
		place, known := byRID[it.Meta.ID]
		if !known {
			return nil, protocolError(generateWhere, fmt.Sprintf("element %d of the answer names none of the rids sent, or one twice", i))
		}
		delete(byRID, it.Meta.ID)
		places[i] = place
	}
	return places, nil
}

func (it *item) result() Result {
	if it.Error != nil {
		return Result{Err: it.Error.err()}
	}
	if f := it.Meta.FinishReason; f != nil && f.Type == "abort" {
		return Result{Answer: it.Answer, Err: abortError(f)}
	}
	return Result{Answer: it.Answer}
}

// check refuses, with KindRejected, what makes SGLang 0.5.23 crash (an empty prompt or list
// element, a negative id) and what JSON can't express. The caller must refuse ids beyond
// the vocabulary, because no endpoint reports its size.
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

// problem returns the wrong field and the reason, or "".
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

// refused returns the error of a call that was not sent.
func refused(problem string) *Error {
	return &Error{Where: generateWhere, Kind: KindRejected, Message: problem}
}
