package compat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync"

	"google.golang.org/protobuf/encoding/protojson"

	pb "paceline/proto/paceline/v1"
	"paceline/proxy/upstream"
)

// generate answers POST /generate.
func (h *Handler) generate(w http.ResponseWriter, r *http.Request) {
	var (
		body     []byte
		fields   map[string]json.RawMessage
		call     *generateCall
		snapshot *upstream.Snapshot
	)
	ok := h.readBody(w, r, func(b []byte) (err error) {
		body, snapshot = b, h.snapshot()
		if fields, err = h.check(snapshot, r, body); err == nil {
			call = parseGenerate(fields)
		}
		return err
	})
	switch {
	case !ok:
	case call == nil:
		h.forwardShared(w, r, snapshot, body, fields)
	default:
		body, fields = nil, nil // the prompts are copies; these must not wait with them
		call.limits = snapshot.Limits
		h.batch(w, r, call)
	}
}

// receiptKey is the field of the receipt in an answer of /generate that was batched.
const receiptKey = "paceline"

// batch answers a call through the batcher, which batches its prompts with those of all
// other callers.
func (h *Handler) batch(w http.ResponseWriter, r *http.Request, call *generateCall) {
	upstream.ReleaseBody(r.Body)
	if call.list { // refused whole, before anything is made for each prompt
		if err := h.up.Room(call.prompts); err != nil {
			h.refuse(w, r, err)
			return
		}
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	release, contexts, err := h.calls.reserve(ctx, call.rids)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	defer release()
	answers := make([][]byte, len(call.prompts))
	var wg sync.WaitGroup
	for i := range call.prompts {
		wg.Go(func() {
			var err error
			if answers[i], err = h.one(contexts[i], r, call, i); err != nil {
				cancel(err) // the first bad prompt fails its list, as with SGLang
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		writeFailure(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if !call.list {
		_, _ = w.Write(answers[0]) // the client has gone: nobody to tell
		return
	}
	body := append([]byte{'['}, bytes.Join(answers, []byte{','})...)
	_, _ = w.Write(append(body, ']'))
}

// one answers prompt i of a call as SGLang would.
func (h *Handler) one(ctx context.Context, r *http.Request, call *generateCall, i int) ([]byte, error) {
	host, _, _ := net.SplitHostPort(r.RemoteAddr) // net/http wrote it
	o := h.up.Submit(ctx, host, func(l upstream.Limits) (*upstream.Prompt, error) { return call.check(i, l) })
	switch {
	case errors.Is(context.Cause(ctx), errAborted):
		return abortedAnswer(call.rids[i])
	case o.Err != nil:
		return nil, o.Err
	}
	return generateAnswer(o.Answer, call.rids[i], o.Receipt)
}

// generateAnswer returns SGLang's own answer to one prompt, with the client's rid and the
// receipt.
func generateAnswer(a *upstream.Answer, rid string, receipt *pb.Receipt) ([]byte, error) {
	raw := bytes.TrimSpace(a.Raw)
	if len(raw) < 2 || raw[len(raw)-1] != '}' {
		return nil, errors.New("SGLang's answer was not kept")
	}
	if rid != "" {
		quoted, err := json.Marshal(rid)
		if err != nil {
			return nil, err
		}
		// The id is random, so no prompt holds it and its first occurrence is the right one.
		raw = bytes.Replace(raw, []byte(strconv.Quote(a.Meta.ID)), quoted, 1)
	}
	told, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(receipt)
	if err != nil {
		return nil, err
	}
	out := append([]byte(nil), raw[:len(raw)-1]...)
	out = append(out, `,"`+receiptKey+`":`...)
	return append(append(out, told...), '}'), nil
}
