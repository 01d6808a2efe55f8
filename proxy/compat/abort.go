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

// errAborted is the cause of the end of a prompt that its client aborted by rid.
var errAborted = errors.New("aborted by its client")

// abortedAnswer is SGLang's answer to a prompt that was aborted while it waited.
func abortedAnswer(rid string) ([]byte, error) {
	return json.Marshal(map[string]any{"text": "", "output_ids": []int32{}, "meta_info": sglang.MetaInfo{
		ID: rid, FinishReason: &sglang.FinishReason{Type: "abort", Message: "Abort in waiting queue"},
	}})
}

// generateCalls knows the prompts of /generate that are being answered by the
// rids that their clients gave them. The zero value is ready; it is safe for
// concurrent use.
type generateCalls struct {
	mu   sync.Mutex
	live map[string]context.CancelCauseFunc // by rid
}

// reserve reserves a call's rids and returns a context for each prompt, which ends
// with ctx or when its rid is aborted. A rid that is taken is an error, as at
// SGLang. release gives the rids back.
func (c *generateCalls) reserve(ctx context.Context, rids []string) (release func(), contexts []context.Context, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live == nil {
		c.live = map[string]context.CancelCauseFunc{}
	}
	contexts = make([]context.Context, len(rids))
	var taken []string
	release = func() {
		c.mu.Lock()
		defer c.mu.Unlock()
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
			c.mu.Unlock()
			release()
			c.mu.Lock()
			return nil, nil, upstream.WrongField("rid", "must be unique among the requests that are not answered yet")
		}
		each, abort := context.WithCancelCause(ctx)
		contexts[i], c.live[rid] = each, abort
		taken = append(taken, rid)
	}
	return release, contexts, nil
}

// abort ends the prompt of that rid, if there is one.
func (c *generateCalls) abort(rid string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if abort, there := c.live[rid]; there {
		abort(errAborted)
	}
}

// abortRequest answers POST /abort_request: for a prompt in the batcher, and at
// SGLang for one that was passed on.
func (h *Handler) abortRequest(w http.ResponseWriter, r *http.Request) {
	body, ok := h.readBody(w, r)
	if !ok {
		return
	}
	var req struct {
		RID      string `json:"rid"`
		AbortAll bool   `json:"abort_all"`
	}
	switch err := json.Unmarshal(body, &req); {
	case err != nil:
		writeFailure(w, upstream.WrongField("body", "must be an object with a rid"))
		return
	case (req.AbortAll || req.RID == "") && !h.passAdmin:
		// An empty rid is the beginning of every rid, and would end everybody's.
		writeError(w, http.StatusForbidden, "rid: must not be empty; abort_all would end other callers' requests too, and is refused here")
		return
	}
	h.calls.abort(req.RID)
	h.forward(w, r, body)
}
