package compat

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"

	"paceline/proxy/upstream"
	"paceline/sglang"
)

// errAborted is the cause with which the context of an aborted prompt ends.
var errAborted = errors.New("aborted by its client")

// abortedAnswer returns SGLang's answer to a prompt that was aborted while it waited.
func abortedAnswer(rid string) ([]byte, error) {
	return json.Marshal(map[string]any{"text": "", "output_ids": []int32{}, "meta_info": sglang.MetaInfo{
		ID: rid, FinishReason: &sglang.FinishReason{Type: "abort", Message: "Abort in waiting queue"},
	}})
}

// generateCalls maps the rids of clients to their unanswered prompts of /generate. The zero
// value is ready to use. It is safe for concurrent use.
type generateCalls struct {
	mu   sync.Mutex
	live map[string]context.CancelCauseFunc // by rid
}

// reserve reserves the rids of a call and returns a context for each prompt, which ends
// with ctx or when its rid is aborted. A rid that is in use is an error, as with SGLang.
// release makes the rids free again.
func (c *generateCalls) reserve(ctx context.Context, rids []string) (release func(), contexts []context.Context, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live == nil {
		c.live = map[string]context.CancelCauseFunc{}
	}
	contexts = make([]context.Context, len(rids))
	var taken []string
	free := func() {
		for _, rid := range taken {
			c.live[rid](nil)
			delete(c.live, rid)
		}
	}
	for i, rid := range rids {
		contexts[i] = ctx
		if rid == "" {
			continue
		}
		if _, there := c.live[rid]; there {
			free()
			return nil, nil, upstream.WrongField("rid", "must be unique among the requests that are not answered yet")
		}
		each, abort := context.WithCancelCause(ctx)
		contexts[i], c.live[rid] = each, abort
		taken = append(taken, rid)
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		free()
	}, contexts, nil
}

// abort ends the prompt with the given rid, if there is one.
func (c *generateCalls) abort(rid string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if abort, there := c.live[rid]; there {
		abort(errAborted)
	}
}

// abortRequest answers POST /abort_request. It aborts a prompt in the batcher, and passes
// the request on for prompts that were passed on to SGLang.
func (h *Handler) abortRequest(w http.ResponseWriter, r *http.Request) {
	var body []byte
	var fields map[string]json.RawMessage
	ok := h.readBody(w, r, func(b []byte) (err error) {
		body = b
		fields, err = h.check(h.snapshot(), r, body)
		return err
	})
	if !ok {
		return
	}
	rid, _ := readText(fields["rid"])
	all, _ := read[bool](fields["abort_all"])
	if (all || rid == "") && !h.passAdmin {
		// An empty rid is the beginning of every rid, and would end everybody's.
		upstream.WriteError(w, http.StatusForbidden,
			"rid: must not be empty; abort_all would end other callers' requests too, and is refused here")
		return
	}
	h.calls.abort(rid)
	h.forward(w, r, body)
}
