package sglang

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
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
	Embed    Embedding // of Embed; zero for Generate

	// Context is how many tokens the server's context holds. An answer that counts more is
	// refused. 0 means unknown: then it is 16 Mi, more than any model's.
	Context int
}

const maxContext = 16 << 20

// Request is one prompt of a list.
type Request struct {
	RID          string // unique among all requests at the server; see NewRID
	Text         string // exactly one of Text and InputIDs
	InputIDs     []int32
	MaxNewTokens int
	Sampling     Sampling
	Logprobs     *LogprobOptions // nil asks for none
	CacheSalt    string          // "" means the common cache
	KeepRaw      bool            // Generate sets Answer.Raw
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
	body, err := encode(call)
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
	return call.decodeResults(data)
}

// item is one element of the answer to a list: an answer, or (Rust server) an error.
type item struct {
	Answer
	Error *itemError `json:"error"`

	malformed bool // not of the expected form: nothing else is set
}

type itemError struct {
	Message string         `json:"message"`
	Code    jsontext.Value `json:"code"`
}

// decodeResults reads the answer to a list. The elements come in the order of the
// requests. Each names its rid, and if the order differs the rid decides.
func (call *Call) decodeResults(data []byte) ([]Result, error) {
	keepRaw := slices.ContainsFunc(call.Requests, func(r Request) bool { return r.KeepRaw })
	items, err := decodeItems(data, call.Requests, keepRaw)
	if err != nil {
		return nil, protocolError(generateWhere, "the answer is not the expected list")
	}
	if len(items) != len(call.Requests) {
		return nil, protocolError(generateWhere, fmt.Sprintf("the answer holds other than %d elements for as many requests", len(call.Requests)))
	}
	places, err := placesOf(items, call.Requests)
	if err != nil {
		return nil, err
	}
	results := make([]Result, len(items))
	for i := range items {
		results[places[i]] = items[i].result(call, places[i])
	}
	return results, nil
}

// decodeItems reads as many elements as there are requests, and at most one more. With apart,
// an element that is not of the expected form fails alone.
func decodeItems(data []byte, requests []Request, apart bool) ([]item, error) {
	items := make([]item, 0, len(requests)+1)
	d := jsontext.NewDecoder(bytes.NewBuffer(data), tolerant)
	if begin, err := d.ReadToken(); err != nil || begin.Kind() != '[' {
		return nil, cmp.Or(err, errNoList)
	}
	for d.PeekKind() != ']' {
		if len(items) > len(requests) {
			return items, nil
		}
		var it item
		if !apart {
			if err := json.UnmarshalDecode(d, &it); err != nil {
				return decodeItems(data, requests, true)
			}
			items = append(items, it)
			continue
		}
		element, err := d.ReadValue()
		if err != nil {
			return nil, err
		}
		if json.Unmarshal(element, &it, tolerant) != nil {
			it = item{malformed: true}
		}
		it.Raw = element.Clone()
		items = append(items, it)
	}
	_, _ = d.ReadToken() // the end of the list
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errNoList
	}
	return items, nil
}

var errNoList = errors.New("not a list")

// placesOf returns the index of the request of each element. A failed element names no rid
// and belongs to the request at its own index.
func placesOf(items []item, requests []Request) ([]int, error) {
	places := make([]int, len(items))
	inOrder := true
	for i, it := range items {
		places[i] = i
		inOrder = inOrder && (it.Error != nil || it.malformed || it.Meta.ID == requests[i].RID)
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

// result returns what an element means for request i of the call. It uses nothing of an
// answer that can't be true.
func (it *item) result(call *Call, i int) Result {
	m, context, problem := &it.Meta, cmp.Or(call.Context, maxContext), call.wrongCount(&it.Meta)
	scores := len(m.InputTokenLogprobs) + len(m.InputTopLogprobs) + len(m.InputIDsLogprobs) +
		len(m.OutputTokenLogprobs) + len(m.OutputTopLogprobs) + len(m.OutputIDsLogprobs)
	switch {
	case it.Error != nil:
		return Result{Err: it.Error.err()}
	case it.malformed:
		problem = "is not of the expected form"
	case problem != "":
	case len(it.OutputIDs) > context || len(it.OutputIDs) > 0 && slices.Min(it.OutputIDs) < 0:
		problem = "holds output_ids that are none"
	case scores > 0 && !m.scoresFit(call.Requests[i].Logprobs):
		problem = "holds log probabilities that were not asked for"
	case m.FinishReason != nil && m.FinishReason.Type == "abort":
		return Result{Answer: it.Answer, Err: abortError(m.FinishReason)}
	default:
		return Result{Answer: it.Answer}
	}
	return Result{Err: protocolError(generateWhere, "an answer "+problem)}
}

// wrongCount says which count of an answer can't be true; "" if all can.
func (call *Call) wrongCount(m *MetaInfo) string {
	context := cmp.Or(call.Context, maxContext)
	switch {
	case m.PromptTokens < 0 || m.PromptTokens > context:
		return fmt.Sprintf("counts %d prompt_tokens, expected 0 to %d", m.PromptTokens, context)
	case m.CachedTokens < 0 || m.CachedTokens > m.PromptTokens:
		return fmt.Sprintf("counts %d cached_tokens, expected 0 to its %d prompt_tokens", m.CachedTokens, m.PromptTokens)
	case m.CompletionTokens < 0 || m.CompletionTokens > context:
		return fmt.Sprintf("counts %d completion_tokens, expected 0 to %d", m.CompletionTokens, context)
	}
	return ""
}

// scoresFit reports whether the lists of log probabilities have no more places than there are
// tokens, no more tokens at a place than were asked for, and possible ids.
func (m *MetaInfo) scoresFit(o *LogprobOptions) bool {
	if o == nil {
		o = new(LogprobOptions)
	}
	wrong := func(maxTokens int) func(row []TokenLogprob) bool {
		return func(row []TokenLogprob) bool {
			return len(row) > maxTokens || slices.ContainsFunc(row, func(t TokenLogprob) bool { return t.ID < 0 || t.ID > math.MaxInt32 })
		}
	}
	in, out := m.PromptTokens, m.CompletionTokens+1 // at 0 new tokens SGLang answers what could follow
	return !wrong(in)(m.InputTokenLogprobs) && !wrong(out)(m.OutputTokenLogprobs) &&
		(len(m.InputTopLogprobs) == 0 || len(m.InputTopLogprobs) == len(m.InputTokenLogprobs)) &&
		(len(m.InputIDsLogprobs) == 0 || len(m.InputIDsLogprobs) == len(m.InputTokenLogprobs)) &&
		len(m.OutputTopLogprobs) <= out && len(m.OutputIDsLogprobs) <= out &&
		!slices.ContainsFunc(slices.Concat(m.InputTopLogprobs, m.OutputTopLogprobs), wrong(o.TopK)) &&
		!slices.ContainsFunc(slices.Concat(m.InputIDsLogprobs, m.OutputIDsLogprobs), wrong(len(o.TokenIDs)))
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
			return refused(fmt.Sprintf("requests[%d]: text and input_ids in one list", i))
		}
		if problem := r.problem(); problem != "" {
			return refused(fmt.Sprintf("requests[%d].%s", i, problem))
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

// refused returns the error of a call that was not sent.
func refused(problem string) *Error {
	return &Error{Where: generateWhere, Kind: KindRejected, Message: problem}
}
