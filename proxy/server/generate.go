package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	pb "paceline/proto/paceline/v1"
	"paceline/sglang"
)

// dropIn speaks SGLang's own HTTP, so that a client changes one URL. POST
// /generate is batched where it is a prefill that a list can carry
// (generate_body.go); everything else passes the crash shield (shield.go) and goes
// to SGLang as it came (passthrough.go).
type dropIn struct {
	service  *prefillService
	calls    generateCalls
	maxBytes int64

	passAdmin bool // administrative paths are passed on, too
}

// receiptKey is where a batched answer of /generate carries its receipt.
const receiptKey = "paceline"

// generate answers POST /generate.
func (d *dropIn) generate(w http.ResponseWriter, r *http.Request) {
	body, ok := d.body(w, r)
	if !ok {
		return
	}
	fields, err := objectOf(body)
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	call := parseGenerate(fields)
	if call == nil {
		d.passOn(w, r, body, fields)
		return
	}
	d.batch(w, r, call)
}

// body reads a request's body, which is to be JSON.
func (d *dropIn) body(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		writeJSONError(w, http.StatusUnsupportedMediaType, map[string]any{"error": map[string]any{"message": "Content-Encoding: must be absent, got " + strconv.Quote(encoding)}})
		return nil, false
	}
	buffer := bytes.NewBuffer(make([]byte, 0, bytes.MinRead+min(max(0, r.ContentLength), trustedLength)))
	_, err := buffer.ReadFrom(http.MaxBytesReader(w, r.Body, d.maxBytes))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		writeJSONError(w, http.StatusRequestEntityTooLarge, map[string]any{"error": map[string]any{"message": "the body is larger than " + strconv.FormatInt(large.Limit, 10) + " bytes"}})
		return nil, false
	case err != nil:
		return nil, false // the client has gone
	}
	return buffer.Bytes(), true
}

// trustedLength is how much of the length that a client announces is set aside before
// it sends.
const trustedLength = 1 << 20

// batch answers a call by way of the batcher, in which its prompts meet those of
// all other callers.
func (d *dropIn) batch(w http.ResponseWriter, r *http.Request, call *generateCall) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	leave, contexts, err := d.calls.enter(ctx, call.rids)
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	defer leave()
	answers := make([]json.RawMessage, len(call.prompts))
	errs := make([]error, len(call.prompts))
	var wg sync.WaitGroup
	for i := range call.prompts {
		wg.Go(func() {
			answers[i], errs[i] = d.one(contexts[i], r, call, i)
			if errs[i] != nil {
				cancel() // one bad prompt fails its list, as at SGLang
			}
		})
	}
	wg.Wait()
	if err := firstCause(errs); err != nil {
		writeGenerateError(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if !call.list {
		_, _ = w.Write(answers[0]) // the client has gone: nobody to tell
		return
	}
	body := append([]byte{'['}, bytes.Join(rawOf(answers), []byte{','})...)
	_, _ = w.Write(append(body, ']'))
}

func rawOf(all []json.RawMessage) [][]byte {
	out := make([][]byte, len(all))
	for i, one := range all {
		out[i] = one
	}
	return out
}

// firstCause is the first error that is not the cancelling of the others.
func firstCause(errs []error) error {
	var cancelled error
	for _, err := range errs {
		switch {
		case err == nil:
		case errors.Is(err, context.Canceled):
			cancelled = err
		default:
			return err
		}
	}
	return cancelled
}

// one answers prompt i of a call as SGLang would have.
func (d *dropIn) one(ctx context.Context, r *http.Request, call *generateCall, i int) (json.RawMessage, error) {
	p, rid := &call.prompts[i], call.rids[i]
	a, receipt, err := d.service.submit(ctx, p, hostOf(r.RemoteAddr), func(p *prompt, l limits) error { return call.check(i, p, l) })
	switch {
	case errors.Is(context.Cause(ctx), errAborted):
		return abortedAnswer(rid)
	case err != nil:
		return nil, err
	}
	return generateAnswer(a, rid, receipt)
}

// generateAnswer is SGLang's own answer to one prompt, under the client's rid and
// with the receipt.
func generateAnswer(a *answer, rid string, receipt *pb.Receipt) (json.RawMessage, error) {
	raw := bytes.TrimSpace(a.Raw)
	if len(raw) < 2 || raw[len(raw)-1] != '}' {
		return nil, errors.New("SGLang's answer was not kept")
	}
	if rid != "" {
		quoted, err := json.Marshal(rid)
		if err != nil {
			return nil, err
		}
		// The id is random: no prompt can hold it, so the first place is the one.
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

// errAborted is the cause of the end of a prompt that its client aborted by rid.
var errAborted = errors.New("aborted by its client")

// abortedAnswer is SGLang's answer to a prompt that was aborted while it waited.
func abortedAnswer(rid string) (json.RawMessage, error) {
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

// enter takes a call's rids and returns a context for each prompt, which ends
// with ctx or when its rid is aborted. A rid that is taken is an error, as at
// SGLang. leave gives the rids back.
func (c *generateCalls) enter(ctx context.Context, rids []string) (leave func(), contexts []context.Context, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live == nil {
		c.live = map[string]context.CancelCauseFunc{}
	}
	contexts = make([]context.Context, len(rids))
	var taken []string
	leave = func() {
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
			leave()
			c.mu.Lock()
			return nil, nil, wrongField("rid", "must be unique among the requests that are not answered yet")
		}
		each, abort := context.WithCancelCause(ctx)
		contexts[i], c.live[rid] = each, abort
		taken = append(taken, rid)
	}
	return leave, contexts, nil
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
func (d *dropIn) abortRequest(w http.ResponseWriter, r *http.Request) {
	body, ok := d.body(w, r)
	if !ok {
		return
	}
	var req struct {
		RID      string `json:"rid"`
		AbortAll bool   `json:"abort_all"`
	}
	switch err := json.Unmarshal(body, &req); {
	case err != nil:
		writeGenerateError(w, wrongField("body", "must be an object with a rid"))
		return
	case (req.AbortAll || req.RID == "") && !d.passAdmin:
		// An empty rid is the beginning of every rid, and would end everybody's.
		writeJSONError(w, http.StatusForbidden, map[string]any{"error": map[string]any{"message": "rid: must not be empty; abort_all would end other callers' requests too, and is refused here"}})
		return
	}
	d.calls.abort(req.RID)
	// Nobody knows which one has it. The client hears the first, last: once it has its
	// answer it may go, and the others must be asked all the same.
	for i, b := range slices.Backward(d.service.pool.all()) {
		withBody(r, body)
		if i == 0 {
			b.pass(w, r)
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), abortTimeout)
		b.pass(discarded{}, r.WithContext(ctx))
		cancel()
	}
}

// refuse answers a request that was found wrong before it was a prompt.
func (d *dropIn) refuse(w http.ResponseWriter, r *http.Request, err error) {
	d.service.pool.metrics.refused(r.Context(), refusedInvalid)
	writeGenerateError(w, err)
}

// writeGenerateError answers with an error in one of SGLang's shapes.
func writeGenerateError(w http.ResponseWriter, err error) {
	st := statusOf(err)
	if after := retryAfter(st); after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
	}
	code := httpCode(st)
	if code == http.StatusServiceUnavailable {
		writeJSONError(w, code, map[string]any{"object": "error", "message": st.Message(), "type": strconv.Itoa(code), "param": nil, "code": code})
		return
	}
	writeJSONError(w, code, map[string]any{"error": map[string]any{"message": st.Message()}})
}

// discarded is an answer that nobody reads.
type discarded struct{}

func (discarded) Header() http.Header         { return http.Header{} }
func (discarded) Write(b []byte) (int, error) { return len(b), nil }
func (discarded) WriteHeader(int)             {}

func httpCode(st *status.Status) int {
	switch st.Code() {
	case codes.InvalidArgument:
		return http.StatusBadRequest
	case codes.ResourceExhausted, codes.Unavailable, codes.Aborted: // SGLang has one word for all of them
		return http.StatusServiceUnavailable
	case codes.DeadlineExceeded:
		return http.StatusGatewayTimeout
	case codes.Canceled:
		return 499 // nobody reads it
	}
	return http.StatusInternalServerError
}

func writeJSONError(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // the client has gone: nobody to tell
}
