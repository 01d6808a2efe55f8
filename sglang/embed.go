package sglang

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ClassifyPath is the one path of Embed that takes no token ids (0.5.23).
const ClassifyPath = "/v1/classify"

// Embedding makes a call one of a path that embeds or classifies: /encode, /classify,
// /v1/embeddings or /v1/classify.
type Embedding struct {
	Path   string // "" for a call of /generate
	Fields string // the other fields of the body, as JSON, each after a comma
}

// native reports whether a path takes the fields of /generate and answers with a list.
func (e *Embedding) native() bool { return e.Path == "/encode" || e.Path == "/classify" }

// Embed sends a list in one call of call.Embed and returns one result for each request, in
// the order of the requests. Answer.Raw is the answer that the server would give to the
// request alone, with numbers as it wrote them. Of Answer.Meta, ID, PromptTokens and
// CachedTokens are set, the first and the last only for /encode and /classify. The other
// options of a call are not sent. An error means that the whole list failed: see Generate.
// KindProtocol with status 0 means that the answer can't be cut up.
func (c *Client) Embed(ctx context.Context, call Call) ([]Result, error) {
	where := http.MethodPost + " " + call.Embed.Path
	if err := call.check(); err != nil {
		return nil, err
	}
	var counts []int // of texts, where the server tells only their sum
	var uncounted error
	var counting sync.WaitGroup
	if !call.Embed.native() && len(call.Requests) > 1 && call.Requests[0].InputIDs == nil {
		counting.Go(func() { counts, uncounted = c.countTokens(ctx, call.Requests) })
	}
	data, _, err := c.exchange(ctx, http.MethodPost, call.Embed.Path, appendEmbed(nil, call))
	counting.Wait()
	if e := new(Error); errors.As(uncounted, &e) && e.Kind != KindProtocol {
		err = cmp.Or(err, uncounted) // it may be counted the next time
	}
	if err != nil {
		return nil, err
	}
	results, ok := call.cut(data, counts)
	if !ok {
		return nil, &Error{Where: where, Kind: KindProtocol, Message: "the answer to a list can't be cut up"}
	}
	return results, nil
}

// appendEmbed writes the body of a call of Embed.
func appendEmbed(b []byte, call Call) []byte {
	name := "input"
	ids := call.Requests[0].InputIDs != nil
	switch {
	case call.Embed.native() && ids:
		name = "input_ids"
	case call.Embed.native():
		name = "text"
	}
	b = append(append(append(b, `{"`...), name...), `":`...)
	b = appendList(b, call.Requests, func(b []byte, r *Request) []byte {
		if ids {
			return appendIDs(b, r.InputIDs)
		}
		return appendString(b, r.Text)
	})
	b = appendList(append(b, `,"rid":`...), call.Requests, func(b []byte, r *Request) []byte { return appendString(b, r.RID) })
	return append(append(b, call.Embed.Fields...), '}')
}

// countTokens returns the number of tokens of each text.
func (c *Client) countTokens(ctx context.Context, requests []Request) ([]int, error) {
	b := append([]byte(`{"prompt":`), appendList(nil, requests, func(b []byte, r *Request) []byte { return appendString(b, r.Text) })...)
	var answer struct {
		Count []int `json:"count"`
	}
	err := c.callJSON(ctx, http.MethodPost, "/tokenize", append(b, '}'), &answer)
	return answer.Count, err
}

// cut makes the answer to each request of the answer to all. counts are the tokens of the
// texts, or nil if they are not needed.
func (call *Call) cut(data []byte, counts []int) (results []Result, ok bool) {
	results = make([]Result, len(call.Requests))
	if call.Embed.native() {
		return results, call.cutNative(data, results)
	}
	var whole embedded
	if json.Unmarshal(data, &whole, tolerant) != nil || len(whole.Data) != len(results) || !call.share(&whole, counts, results) {
		return nil, false
	}
	all := whole.Data
	for i := range results {
		a := &results[i].Answer
		if all[i].Index != i {
			return nil, false
		}
		all[i].Index = 0
		whole.Data = all[i : i+1]
		whole.Usage.PromptTokens, whole.Usage.TotalTokens = a.Meta.PromptTokens, a.Meta.PromptTokens
		if whole.ID != "" {
			whole.ID = "classify-" + NewRID()
		}
		var err error
		if a.Raw, err = json.Marshal(whole, tolerant); err != nil {
			return nil, false
		}
	}
	return results, true
}

// cutNative cuts up the answer of /encode or /classify.
func (call *Call) cutNative(data []byte, results []Result) (ok bool) {
	var items []jsontext.Value
	if json.Unmarshal(data, &items, tolerant) != nil || len(items) != len(results) {
		return false
	}
	for i, raw := range items {
		a := &results[i].Answer
		if json.Unmarshal(raw, a, tolerant) != nil || a.Meta.ID != call.Requests[i].RID || call.wrongCount(&a.Meta) != "" {
			return false
		}
		if a.Raw = raw; a.Meta.FinishReason != nil && a.Meta.FinishReason.Type == "abort" {
			results[i].Err = abortError(a.Meta.FinishReason)
		}
	}
	return true
}

// share sets the prompt tokens of each result. It returns false if their sum is not the
// server's.
func (call *Call) share(whole *embedded, counts []int, results []Result) (ok bool) {
	sum := 0
	for i, r := range call.Requests {
		m := &results[i].Answer.Meta
		switch {
		case len(results) == 1:
			m.PromptTokens = whole.Usage.PromptTokens
		case r.InputIDs != nil:
			m.PromptTokens = len(r.InputIDs)
		case len(counts) == len(results):
			m.PromptTokens = counts[i]
		}
		if sum += m.PromptTokens; call.wrongCount(m) != "" {
			return false
		}
	}
	return whole.Usage.PromptTokens == sum && whole.Usage.TotalTokens == sum
}

// embedded is an answer of /v1/embeddings or /v1/classify. What is not named is kept as the
// server wrote it.
type embedded struct {
	ID    string         `json:"id,omitzero"` // only of /v1/classify
	Data  []embeddedItem `json:"data"`
	Usage struct {
		PromptTokens int            `json:"prompt_tokens"`
		TotalTokens  int            `json:"total_tokens"`
		Rest         jsontext.Value `json:",embed"`
	} `json:"usage"`
	Rest jsontext.Value `json:",embed"`
}

type embeddedItem struct {
	Index int            `json:"index"`
	Rest  jsontext.Value `json:",embed"`
}
