package compat

import (
	"encoding/json"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"

	"paceline/proxy/upstream"
	"paceline/sglang"
)

// A request of /v1/score is answered through the batcher where its prompts are known here:
// each is the query and then an item, and the tokenizer is SGLang's. So the items of all
// callers share lists, equal ones are sent once, and what SGLang had cached is learned.

// scoreCall is a request of /v1/score whose prompts are known.
type scoreCall struct {
	text   string  // the query, or else
	ids    []int32 // the query
	texts  []string
	lists  [][]int32
	labels [][]int32 // one for each item, or one for all

	softmax, logprobs bool
	temperature       float64
	model             string
}

// scoreFields are the fields that a scoreCall can have. Those that are true are known to
// every SGLang.
var scoreFields = map[string]bool{
	"query": true, "items": true, "label_token_ids": true, "apply_softmax": true, "item_first": true, "model": true,
	"temperature": false, "return_token_logprobs": false,
}

// readScore reads a request that can be split. It returns nil if SGLang must answer it
// itself, or refuse it.
func readScore(s *upstream.Snapshot, fields map[string]json.RawMessage) *scoreCall {
	var taken []string // by this SGLang
	if s.Fields != nil {
		taken = (*s.Fields)["/v1/score"]
	}
	for name, raw := range fields {
		if old, known := scoreFields[name]; isNull(raw) || !known || !old && !slices.Contains(taken, name) {
			return nil
		}
	}
	c := &scoreCall{temperature: 1, model: sglang.DefaultModel}
	var isText bool
	if c.text, isText = readText(fields["query"]); isText {
		items, _ := elements(fields["items"])
		for _, item := range items {
			text, ok := readText(item.value)
			if !ok {
				return nil
			}
			c.texts = append(c.texts, text)
		}
	} else {
		c.ids, _ = readIDs(fields["query"])
		_, c.lists = readIDs(fields["items"])
	}
	flat, each := readIDs(fields["label_token_ids"])
	if c.labels = each; each == nil {
		c.labels = [][]int32{flat}
	}
	if !s.PlainLabels(c.labels) || each != nil && len(each) != c.n() {
		return nil
	}
	ok := optional(fields["apply_softmax"], &c.softmax) && optional(fields["return_token_logprobs"], &c.logprobs) &&
		optional(fields["temperature"], &c.temperature) && optional(fields["model"], &c.model)
	if !ok || c.temperature != 1 && !c.softmax {
		return nil
	}
	return c
}

// optional reads a value that may be absent.
func optional[T any](raw json.RawMessage, to *T) bool {
	return raw == nil || json.Unmarshal(raw, to) == nil
}

func (c *scoreCall) n() int { return len(c.texts) + len(c.lists) }

// bytes is how much the prompts take in the queue.
func (c *scoreCall) bytes() (all int64) {
	all = int64(c.n() * (len(c.text) + 4*len(c.ids)))
	for _, text := range c.texts {
		all += int64(len(text))
	}
	for _, ids := range c.lists {
		all += int64(4 * len(ids))
	}
	return all
}

func (c *scoreCall) prompt(i int) *upstream.Prompt {
	p := &upstream.Prompt{Request: sglang.Request{Logprobs: &sglang.LogprobOptions{TokenIDs: c.labelsOf(i)}}}
	if c.lists != nil {
		p.Request.InputIDs = slices.Concat(c.ids, c.lists[i])
	} else {
		p.Request.Text = c.text + c.texts[i]
	}
	return p
}

func (c *scoreCall) labelsOf(i int) []int32 { return c.labels[min(i, len(c.labels)-1)] }

// errNoNumber is the error of a score that JSON can't express.
var errNoNumber = &upstream.FieldError{Field: "items", Problem: "a score is not a finite number"}

// scoreByIDs answers a request of /v1/score through the batcher. answered is false if it must
// be passed on, and known is false if that may be in parts: its prompts are not known here,
// or the queue has no room for all of them.
func (h *Handler) scoreByIDs(w http.ResponseWriter, r *http.Request, s *upstream.Snapshot, fields map[string]json.RawMessage) (answered, known bool) {
	c := readScore(s, fields)
	if c == nil {
		return false, false
	}
	scores, logprobs, tokens := make([][]float64, c.n()), make([][]float64, c.n()), 0
	var failed error
	var held time.Duration
	host, _, _ := net.SplitHostPort(r.RemoteAddr) // net/http wrote it
	parse := func(i int, l upstream.Limits) (*upstream.Prompt, error) {
		if l != s.Limits { // other than the body was checked by
			return nil, upstream.NotReady("SGLang serves another model than when this request came")
		}
		return c.prompt(i), nil
	}
	err := h.up.SubmitList(upstream.Counted(r.Context()), host, c.n(), c.bytes(), parse, func(i int, o upstream.Outcome) bool {
		if failed = o.Err; failed != nil {
			return false
		}
		if logprobs[i], failed = o.Answer.Meta.LabelLogprobs(c.labelsOf(i)); failed != nil {
			return false
		}
		scores[i] = sglang.Scores(logprobs[i], c.softmax, c.temperature)
		if !finite(scores[i]) || c.logprobs && !finite(logprobs[i]) {
			failed = errNoNumber
		}
		tokens += o.Answer.Meta.PromptTokens
		held = max(held, time.Duration(o.Receipt.GetQueueWaitSeconds()*float64(time.Second)))
		return failed == nil
	})
	if err == nil {
		err = failed
	}
	switch code := upstream.ToStatus(err).Code(); {
	case err == nil:
	case code == codes.InvalidArgument:
		return false, true
	case code == codes.ResourceExhausted:
		return false, false
	default:
		writeFailure(w, r, err)
		return true, true
	}
	if !c.logprobs {
		logprobs = nil
	}
	w.Header().Set(receiptHeader, "role=batched, held_seconds="+strconv.FormatFloat(held.Seconds(), 'f', 4, 64))
	upstream.WriteJSON(w, http.StatusOK, sglang.NewScoringAnswer(c.model, scores, logprobs, tokens))
	return true, true
}

func finite(all []float64) bool {
	return !slices.ContainsFunc(all, func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) })
}
