package compat

import (
	"cmp"
	"encoding/json"
	"math"
	"net"
	"net/http"
	"slices"

	"google.golang.org/grpc/codes"

	"paceline/batcher"
	"paceline/proxy/upstream"
	"paceline/sglang"
)

// SGLang tokenizes the query of /v1/score again for each item. So a request of texts goes
// through the batcher where its prompts are known here: each is the query and then an item,
// and the tokenizer is SGLang's. The items of all callers share lists of ids, equal ones are
// sent once, and what SGLang had cached is learned. Requests of ids gain nothing from it: a
// part has all items in one list, and lists of the batcher have -batch-size.

// scoreCall is a request of /v1/score whose prompts are known.
type scoreCall struct {
	query  string
	items  []string
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
	for name, raw := range fields {
		if old, known := scoreFields[name]; isNull(raw) || !known || !old && (s.Fields == nil || s.Lacks("/v1/score", name)) {
			return nil
		}
	}
	c := &scoreCall{temperature: 1, model: sglang.DefaultModel}
	flat, each := readIDs(fields["label_token_ids"])
	if c.labels = each; each == nil {
		c.labels = [][]int32{flat}
	}
	ok := optional(fields["query"], &c.query) && optional(fields["items"], &c.items) &&
		optional(fields["apply_softmax"], &c.softmax) && optional(fields["return_token_logprobs"], &c.logprobs) &&
		optional(fields["temperature"], &c.temperature) && optional(fields["model"], &c.model)
	if !ok || c.temperature != 1 && !c.softmax || each != nil && len(each) != len(c.items) || !s.PlainLabels(c.labels) {
		return nil
	}
	return c
}

// optional reads a value that may be absent.
func optional[T any](raw json.RawMessage, to *T) bool {
	return raw == nil || json.Unmarshal(raw, to) == nil
}

func (c *scoreCall) labelsOf(i int) []int32 { return c.labels[min(i, len(c.labels)-1)] }

// minScoreList is the -batch-size from which on lists of ids were faster than SGLang's own
// tokenizing.
const minScoreList = 16

// inLists says whether lists of ids are faster than parts: SGLang has one tokenizer, and the
// lists are long enough.
func (h *Handler) inLists(s *upstream.Snapshot) bool {
	set := h.up.Queue.Settings()
	return s.Info.TokenizerWorkerNum <= 1 && set.Share == batcher.ShareAll &&
		set.Mode == batcher.ModeFixed && set.BatchSize >= minScoreList
}

// errNotFinite is the error of a score that JSON can't express.
var errNotFinite = upstream.WrongField("items", "a score is not a finite number")

// scoreTexts answers a request of /v1/score through the batcher. Otherwise whole says whether
// it must be passed on whole, because SGLang refuses a prompt of it. If not, it may go in
// parts: its prompts are not known here, or the queue has no room for all of them.
func (h *Handler) scoreTexts(
	w http.ResponseWriter, r *http.Request, s *upstream.Snapshot, fields map[string]json.RawMessage,
) (answered, whole bool) {
	c := readScore(s, fields)
	if c == nil || !h.inLists(s) {
		return false, false
	}
	answer, held, err := h.scoreList(r, s.Limits, c)
	switch code := upstream.ToStatus(err).Code(); {
	case code == codes.InvalidArgument:
		return false, true
	case code == codes.ResourceExhausted:
		return false, false
	case err != nil:
		writeFailure(w, r, err)
		return true, false
	}
	setReceipt(w, "batched", held)
	upstream.WriteJSON(w, http.StatusOK, answer)
	return true, false
}

// scoreList submits the prompts of a request, whose body was checked against limits. held is
// the longest wait of a prompt in the queue, in seconds.
func (h *Handler) scoreList(r *http.Request, limits upstream.Limits, c *scoreCall) (answer sglang.ScoringAnswer, held float64, err error) {
	n, bytes := len(c.items), int64(len(c.items)*len(c.query))
	for _, item := range c.items {
		bytes += int64(len(item))
	}
	parse := func(i int, l upstream.Limits) (*upstream.Prompt, error) {
		if l != limits {
			return nil, upstream.NotReady("SGLang serves another model than when this request came")
		}
		return &upstream.Prompt{Request: sglang.Request{
			Text: c.query + c.items[i], Logprobs: &sglang.LogprobOptions{TokenIDs: c.labelsOf(i)},
		}}, nil
	}
	scores, logprobs, tokens := make([][]float64, n), make([][]float64, n), 0
	var failed error
	host, _, _ := net.SplitHostPort(r.RemoteAddr) // net/http wrote it
	err = h.up.SubmitList(upstream.Counted(r.Context()), host, n, bytes, parse, func(i int, o upstream.Outcome) bool {
		if failed = o.Err; failed != nil {
			return false
		}
		if logprobs[i], failed = o.Answer.Meta.LabelLogprobs(c.labelsOf(i)); failed != nil {
			return false
		}
		scores[i] = sglang.Scores(logprobs[i], c.softmax, c.temperature)
		if !finite(scores[i]) || c.logprobs && !finite(logprobs[i]) {
			failed = errNotFinite
		}
		tokens, held = tokens+o.Answer.Meta.PromptTokens, max(held, o.Receipt.GetQueueWaitSeconds())
		return failed == nil
	})
	if !c.logprobs {
		logprobs = nil
	}
	return sglang.NewScoringAnswer(c.model, scores, logprobs, tokens), held, cmp.Or(err, failed)
}

func finite(all []float64) bool {
	return !slices.ContainsFunc(all, func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) })
}
