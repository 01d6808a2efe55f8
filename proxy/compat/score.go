package compat

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"slices"

	"paceline/batcher"
	"paceline/batcher/prefix"
	"paceline/proxy/upstream"
)

// SGLang makes one prompt of each item of a scoring request, and computes what they share
// once per prompt if it is new. So score sends the first item alone, and then the others,
// which find their beginning cached. Requests of other callers with the same beginning wait
// for the first item, too. scoretexts.go has what is faster for texts.

// scoring says how the requests of one path are split.
type scoring struct {
	shared  string   // the field with which each item's prompt begins
	items   string   // the field with the items: a list, or an object of them by name
	perItem string   // a list field that may have a list for each item
	dropped string   // left out of the parts
	whole   []string // fields with which the items share nothing, unless they are null, false or empty
	fits    func(shared json.RawMessage, items []element) bool
	answer  answerShape
}

// scorings are the paths whose requests are split (SGLang 0.5.23).
var scorings = map[string]*scoring{
	"/v1/score": {
		shared: "query", items: "items", perItem: "label_token_ids",
		whole: []string{
			"item_first", "score_extraction_token", "embed_override_token_id", "query_embed_overrides", "item_embed_overrides",
		},
		fits: alike, answer: rows{perItem: []string{"scores", "token_logprobs", "pooled_hidden_states"}},
	},
	"/v1/rerank": {
		shared: "query", items: "documents", dropped: "top_n", fits: alike, answer: ranking{},
	},
	"/v1/decisions": {
		shared: "input", items: "questions", whole: []string{"images"}, fits: distinct, answer: rows{perItem: []string{"answers"}},
	},
	"/v1/systemone": {
		shared: "state", items: "questions", whole: []string{"images"}, fits: named,
		// A checkpoint with a head of its own may put all questions in one prompt. Its
		// answers have no x_label_mass.
		answer: rows{perItem: []string{"answers"}, sign: "x_label_mass"},
	},
}

// score answers a scoring request, if its items share enough. A request whose shared
// beginning is new goes in two parts, and those of other callers wait for the first part. All
// others go whole. It returns false without an answer if the caller must pass the request on
// like any other: its items share too little, an answer has an unexpected shape, or SGLang
// refuses a part. Then SGLang's own error names the client's fields.
func (h *Handler) score(w http.ResponseWriter, r *http.Request, s *upstream.Snapshot, body []byte, fields map[string]json.RawMessage) bool {
	sc, odd := scorings[r.URL.Path], oddity{r.URL.Path, s.Model}
	if sc == nil || s.SharesNothing != "" || s.Info.EnableMIS {
		return false
	}
	if _, known := h.odd.Load(odd); known {
		return false
	}
	parts, n := sc.split(fields)
	if n == 0 {
		return false
	}
	if r.URL.Path == "/v1/score" && n > 1 {
		if answered, whole := h.scoreTexts(w, r, s, fields); answered || whole {
			return answered
		}
	}
	p := sc.prompt(r.URL.Path, fields)
	g, err := h.admit(w, r, s, p)
	if err != nil {
		h.refuse(w, r, err)
		return true
	}
	defer g.Done()
	cached := g.Role == batcher.Alone || g.Role == batcher.Follower && p.Blocks-g.Shared < batcher.MinShared // by now
	if !cached && g.Doubted && p.Chat == "" && !s.Embeds {
		cached = h.prefill(r, p, g) // unlike a part, it tells whether the state was cached
	}
	if cached || n == 1 {
		h.forward(&prefillWatch{ResponseWriter: w, grant: g}, r, body)
		return true
	}
	first, answered := h.part(w, r, odd, sc, 1, h.up.Call(r, writeBody(parts[0], sc.dropped)))
	if first == nil {
		return answered
	}
	g.Prefilled(batcher.Usage{})
	others, answered := h.part(w, r, odd, sc, n-1, h.up.Call(r, writeBody(parts[1], sc.dropped)))
	if others == nil {
		return answered
	}
	joined, ok := sc.answer.join(first.Body, others.Body, fields)
	if !ok {
		h.markOdd(odd)
		return false
	}
	others.AnswerWith(w, joined)
	return true
}

// prompt returns what all prompts of a request begin with.
func (sc *scoring) prompt(path string, fields map[string]json.RawMessage) *upstream.Passed {
	p := &upstream.Passed{}
	if path != "/v1/score" { // SGLang's own words, or those of its template, stand before what is shared
		p.Chat = string(fields[sc.shared])
		p.Space = path + "\x00" + string(fields["instruct"]) + "\x00" + string(fields["chat_template_kwargs"])
		return p
	}
	var isText bool
	if p.Request.Text, isText = readText(fields[sc.shared]); !isText {
		p.Request.InputIDs, _ = readIDs(fields[sc.shared])
	}
	return p
}

// part returns the reply to a part with n items if it can be joined, or nil. Then answered
// says whether the request is answered or its client has gone.
func (h *Handler) part(
	w http.ResponseWriter, r *http.Request, odd oddity, sc *scoring, n int, reply *upstream.Reply,
) (_ *upstream.Reply, answered bool) {
	switch {
	case r.Context().Err() != nil:
		return nil, true
	case reply.Status >= http.StatusInternalServerError: // sent again it could do more harm
		reply.Answer(w)
		return nil, true
	case reply.Status != http.StatusOK:
		return nil, false
	case !sc.answer.has(reply.Body, n):
		h.markOdd(odd)
		return nil, false
	}
	return reply, false
}

// oddity is a path that a model answers in an unexpected shape.
type oddity struct{ path, model string }

// markOdd makes all further requests of a path go whole.
func (h *Handler) markOdd(o oddity) {
	if _, known := h.odd.LoadOrStore(o, true); !known {
		h.log.Warn("SGLang's answer has a shape that can't be joined: requests of this path are sent whole from now on",
			"path", o.path, "model", o.model)
	}
}

// split returns how many items a request has, 0 if they share too little, and the fields of
// both parts if there are 2 items or more.
func (sc *scoring) split(fields map[string]json.RawMessage) (parts [2]map[string]json.RawMessage, n int) {
	items, ok := elements(fields[sc.items])
	if !ok || len(items) == 0 || sharedBlocks(fields[sc.shared]) < batcher.MinShared || !sc.fits(fields[sc.shared], items) {
		return parts, 0
	}
	for _, name := range sc.whole {
		if !isNull(fields[name]) && !slices.Contains([]string{"false", "[]"}, string(fields[name])) {
			return parts, 0
		}
	}
	if len(items) == 1 {
		return parts, 1
	}
	parts = [2]map[string]json.RawMessage{maps.Clone(fields), maps.Clone(fields)}
	cut := func(name string, all []element) {
		parts[0][name], parts[1][name] = write(all[:1]), write(all[1:])
	}
	cut(sc.items, items)
	if each, ok := elements(fields[sc.perItem]); ok && len(each) > 0 && each[0].value[0] == '[' {
		if len(each) != len(items) {
			return parts, 0
		}
		cut(sc.perItem, each)
	}
	return parts, len(items)
}

// sharedBlocks is the length of what is shared, in blocks of the prefix cache model.
func sharedBlocks(raw json.RawMessage) int {
	switch {
	case isNull(raw):
		return 0
	case raw[0] == '"':
		return textBytes(raw) / prefix.BlockBytes
	case isIDs(raw):
		return (bytes.Count(raw, []byte{','}) + 1) / prefix.BlockTokens
	}
	var compact bytes.Buffer
	_ = json.Compact(&compact, raw) // it was read before
	return compact.Len() / prefix.BlockBytes
}

// isIDs says whether a value is a list that begins with a number.
func isIDs(raw json.RawMessage) bool {
	inner := bytes.TrimLeft(bytes.TrimPrefix(raw, []byte{'['}), " \t\r\n")
	return len(raw) > 0 && raw[0] == '[' && len(inner) > 0 && inner[0] >= '0' && inner[0] <= '9'
}

// alike says whether what is shared and the items are all texts, or all ids. The table has
// seen to it that the items are of one kind.
func alike(shared json.RawMessage, items []element) bool {
	first := items[0].value
	return items[0].name == nil && (shared[0] == '"' && first[0] == '"' || isIDs(shared) && first[0] == '[')
}

// distinct says whether the items have an id each. SGLang refuses equal ones, which the parts
// would hide.
func distinct(_ json.RawMessage, items []element) bool {
	seen := map[string]bool{}
	for _, item := range items {
		var question struct {
			ID string `json:"id"`
		}
		if item.name != nil || json.Unmarshal(item.value, &question) != nil || seen[question.ID] {
			return false
		}
		seen[question.ID] = true
	}
	return true
}

// named says whether the items stand in an object. The reader has refused equal names.
func named(_ json.RawMessage, items []element) bool { return items[0].name != nil }
