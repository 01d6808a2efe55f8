package upstream

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"paceline/batcher"
	"paceline/proxy/telemetry"
	"paceline/sglang"
)

// batch has pointers to prompts and answers: passed by value they would double the stack of
// each waiting call's goroutine.
type batch = batcher.Batch[*Prompt, *Answer]

// sender is the batcher's Sender.
type sender struct{ *Upstream }

// Send implements batcher.Sender. It sends a batch as one call and ends each member as soon
// as it has its result. The other members end with the error of the last call.
func (u sender) Send(ctx context.Context, b *batch) []batcher.Result[*Answer] {
	a := &attempt{
		Upstream: u.Upstream, batch: b, sent: time.Now(), calls: make([]int, b.Size), ended: make([]bool, b.Size),
		facts: &BatchFacts{Release: b.Release},
	}
	if a.ctx = ctx; u.tracer != nil {
		a.ctx, a.spans = u.traceBatch(ctx, b)
	}
	u.metrics.Released(b.Reason.String(), b.Size, b.Limit, b.Merged, b.Shared)
	a.sendAll()
	if ctx.Err() != nil {
		a.err = ctx.Err() // all callers have gone, or the batcher closes
	}
	a.facts.Took = time.Since(b.At)
	a.metrics.BatchEnded(a.ctx, a.facts.Took, b.Predicted, a.facts.PromptTokens, a.facts.CachedTokens)
	a.recent.add(a.facts)
	if a.spans != nil {
		a.spans.finish(a.facts, a.split, a.err)
	}
	if a.err == nil {
		return nil
	}
	return slices.Repeat([]batcher.Result[*Answer]{{Err: a.err}}, b.Size)
}

// call makes one call to SGLang and ends the members that it answers. If a caller goes away
// meanwhile, its prompt is aborted by rid, and the call goes on for the others.
func (a *attempt) call(members []int) error {
	a.facts.Calls++
	first := a.batch.Value(members[0])
	call := sglang.Call{Requests: make([]sglang.Request, len(members)), Priority: first.Priority, LoRA: first.LoRA, Embed: first.Embed}
	if n := a.current.Load().Limits.MaxPromptTokens; n > 0 {
		call.Context = n + contextReserve
	}
	rids := make([]string, a.batch.Size)
	for k, i := range members {
		a.calls[i]++
		call.Requests[k] = a.batch.Value(i).Request
		if call.Requests[k].Logprobs != nil {
			call.Requests[k].Logprobs = a.batch.Value(i).allLabels(a.batch.Values(i))
		}
		if a.calls[i] > 1 {
			// SGLang may still hold the id of the failed call, and would refuse a second
			// request with that id.
			call.Requests[k].RID = sglang.NewRID()
		}
		rids[i] = call.Requests[k].RID
	}
	watched := rids
	if call.Embed.Path != "" { // SGLang answers 500 to all of a list in which one is aborted (0.5.23)
		watched = make([]string, a.batch.Size)
	}
	stopWatch := a.watchCallers(watched)
	ctx, began, input, output := a.ctx, time.Now(), 0, 0
	var endSpan func(error)
	if a.spans != nil {
		ctx, endSpan = a.spans.call(ctx, cmp.Or(call.Embed.Path, "/generate"), len(members), a.facts.Calls)
	}
	results, err := a.exchange(ctx, call)
	for k, r := range results {
		if r.Err == nil {
			input, output = input+r.Answer.Meta.PromptTokens, output+r.Answer.Meta.CompletionTokens
		}
		a.deliver(members[k], r)
	}
	if endSpan != nil {
		endSpan(err)
	}
	failed := ""
	if err != nil {
		failed = telemetry.StatusName(ToStatus(err).Code())
	}
	a.metrics.Called(ctx, a.current.Load().Model, began, input, output, failed)
	stopWatch()
	if a.ctx.Err() != nil { // all callers have gone, or the batcher closes
		for i, rid := range rids {
			if rid != "" && !a.ended[i] {
				a.aborts.Go(func() { a.Abort(a.batch.Context(i), rid) })
			}
		}
	}
	return err
}

func (a *attempt) exchange(ctx context.Context, call sglang.Call) ([]sglang.Result, error) {
	if call.Embed.Path != "" {
		return a.client.Embed(ctx, call)
	}
	return a.client.Generate(ctx, call)
}

// attempt is the sending of one batch: the calls until each member has a result.
type attempt struct {
	*Upstream
	batch  *batch
	ctx    context.Context //nolint:containedctx // of the batch
	sent   time.Time
	calls  []int       // by member
	ended  []bool      // by member: it has its answer, or an error of its own
	err    error       // of the last call
	broken bool        // SGLang cut a call off
	died   bool        // it went away after that and came back
	split  bool        // it was sent again in parts
	spans  *batchTrace // nil: no request of the batch is sampled
	facts  *BatchFacts

	culprits int // members that failed alone with 500, since a call of the batch succeeded
}

// sendAll sends all members as one call, and isolates those that make it fail.
func (a *attempt) sendAll() {
	members := make([]int, a.batch.Size)
	for i := range members {
		members[i] = i
	}
	if a.send(members) == batcher.Bad {
		if len(members) == 1 {
			a.blame(0)
		} else {
			a.batch.Split()
			a.metrics.Split()
			a.split = true
			batcher.Isolate(members, a.send, a.blame)
		}
	}
	if a.died {
		a.sendAlone(members)
	}
}

// sendAlone sends members one by one, after SGLang went away and came back: one of them may
// have crashed it. Only one batch at a time does so. A prompt with which SGLang goes away a
// second time is not sent again.
func (a *attempt) sendAlone(members []int) {
	a.alone.Lock()
	defer a.alone.Unlock()
	for _, i := range a.present(members) {
		a.died = false
		switch a.send([]int{i}) {
		case batcher.Bad:
			a.blame(i)
		case batcher.Stop:
			if !a.died {
				return
			}
			a.log.ErrorContext(a.ctx, "SGLang went away twice with one prompt, which is not sent again", "batch", a.batch.ID, "member", i)
			a.fail(i, errDeadly)
		}
	}
}

// errOtherModel ends a prompt of token ids that were checked or made for a model that SGLang
// no longer serves.
var errOtherModel = &notReadyError{"SGLang serves another model than when this request came"}

// errDeadly ends a prompt with which SGLang went away twice.
var errDeadly = errors.New("SGLang went away twice while it had this prompt, which is not sent again")

// send sends some members as one call. It repeats a call that SGLang itself failed, as far
// as the batcher allows: prefill is safe to repeat. Bad means that one of the members is to
// blame.
func (a *attempt) send(members []int) batcher.Outcome {
	for try := 1; ; try++ {
		members = a.present(members)
		if len(members) == 0 {
			return batcher.Good
		}
		a.err = a.call(members)
		if a.ctx.Err() != nil {
			return batcher.Stop
		}
		if a.err == nil {
			a.culprits = 0
			a.batch.Succeeded()
			return batcher.Good
		}
		switch faultOf(a.err) {
		case itemsFault:
			a.batch.Succeeded()
			return batcher.Bad
		case lasting:
			a.warn()
			return batcher.Stop
		}
		a.warn()
		switch a.awaitServer() {
		case gone:
			return batcher.Stop
		case returned:
			try--
			continue
		}
		culprit := mayBeItemsFault(a.err) && a.culprits < maxCulprits
		if !culprit {
			a.batch.Failed()
		}
		if a.batch.Retry(a.ctx, try) {
			a.metrics.Retried()
			continue
		}
		if culprit {
			return batcher.Bad
		}
		return batcher.Stop
	}
}

// presence says whether SGLang was there after a call without an answer.
type presence uint8

const (
	there    presence = iota // it answers
	gone                     // it is away, or the members are to be sent alone
	returned                 // it was away and is back
)

// awaitServer waits for SGLang if the last call found it away.
func (a *attempt) awaitServer() presence {
	if kindOf(a.err) != sglang.KindUnreachable || a.cfg.MaxOutage <= 0 {
		return there
	}
	// It may crash only a moment after it cut a connection.
	a.broken = a.broken || wasSent(a.err)
	away, back := a.awaitReturn(a.ctx)
	switch {
	case !away:
		return there
	case !back:
		return gone
	case a.broken:
		a.broken, a.died = false, true
		return gone
	}
	return returned
}

// warn logs a failed call that is no fault of a prompt, and asks for a check if SGLang seems
// away.
func (a *attempt) warn() {
	a.log.WarnContext(a.ctx, "a call to SGLang failed", "batch", a.batch.ID, "requests", a.batch.Size, "error", a.err)
	if kindOf(a.err) == sglang.KindUnreachable {
		a.suspect()
	}
}

// present returns the members that have not ended and still have a caller.
func (a *attempt) present(members []int) []int {
	var here []int
	for _, i := range members {
		switch p := a.batch.Value(i); {
		case a.ended[i] || a.batch.Context(i).Err() != nil:
		case p.generation != a.current.Load().generation && len(p.Request.InputIDs) > 0:
			a.fail(i, errOtherModel)
		default:
			here = append(here, i)
		}
	}
	return here
}

// deliver ends a member with its result.
func (a *attempt) deliver(i int, r sglang.Result) {
	if r.Err != nil {
		a.reject(i, r.Err)
		return
	}
	a.ended[i] = true
	meta := &r.Answer.Meta
	a.facts.Answered++
	a.facts.PromptTokens += meta.PromptTokens
	a.facts.CachedTokens += meta.CachedTokens
	answer := &Answer{r.Answer, time.Since(a.sent), a.calls[i]}
	a.batch.Answer(i, batcher.Result[*Answer]{
		Value: answer, Usage: batcher.Usage{PromptTokens: meta.PromptTokens, CachedTokens: meta.CachedTokens},
	})
	if a.spans != nil { // after the answer, so that it does not wait
		a.spans.member(i, answer, nil)
	}
}

// blame ends a member with the error of the last call, which concerns it.
func (a *attempt) blame(i int) {
	if mayBeItemsFault(a.err) {
		a.culprits++
	}
	a.reject(i, a.err)
}

// reject ends a member with SGLang's error. If SGLang rejected it, the prompt is wrong.
func (a *attempt) reject(i int, err error) {
	var e *sglang.Error
	if errors.As(err, &e) && e.Kind == sglang.KindRejected {
		err = &FieldError{a.batch.Value(i).field(), "SGLang refused it: " + e.Message}
	}
	a.fail(i, err)
}

// fail ends a member with an error.
func (a *attempt) fail(i int, err error) {
	a.ended[i] = true
	a.batch.Answer(i, batcher.Result[*Answer]{Err: err})
	if a.spans != nil {
		a.spans.member(i, nil, err)
	}
}

// fault says who is to blame for a failed call.
type fault uint8

const (
	itemsFault fault = iota // one of the prompts is to blame
	passing                 // SGLang failed, and may succeed the next time
	lasting                 // SGLang fails every call
)

// duplicateID is in SGLang's refusal of an id that it still holds from a failed call. The
// next call has new ids.
const duplicateID = "Duplicate request ID"

func faultOf(err error) fault {
	var e *sglang.Error
	switch {
	case !errors.As(err, &e):
		return lasting
	case e.Kind == sglang.KindRejected && strings.Contains(e.Message, duplicateID):
		return passing
	case e.Kind == sglang.KindRejected, e.Kind == sglang.KindTooLong,
		e.Kind == sglang.KindProtocol && e.Status == http.StatusOK: // one prompt may have spoilt the whole answer
		return itemsFault
	case e.Kind == sglang.KindServer, e.Kind == sglang.KindBusy, e.Kind == sglang.KindUnreachable, e.Kind == sglang.KindAborted:
		return passing
	}
	return lasting
}

// kindOf returns the kind of SGLang's error; KindServer for other errors.
func kindOf(err error) sglang.Kind {
	var e *sglang.Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return sglang.KindServer
}

// wasSent reports whether a part of a call without an answer may have reached SGLang.
func wasSent(err error) bool {
	var e *sglang.Error
	return errors.As(err, &e) && e.Sent
}

// maxCulprits is how many prompts of a batch may fail alone with 500, and none succeed,
// before the fault is SGLang's: the search ends, and the breaker counts a failure.
const maxCulprits = 3

// mayBeItemsFault reports whether one of the prompts may cause a failure that remains after
// repeats. SGLang 0.5.23 answers 500 from its HTTP process, for one request: a broken
// scheduler ends the server, and does not answer.
func mayBeItemsFault(err error) bool {
	var e *sglang.Error
	return errors.As(err, &e) && e.Status == http.StatusInternalServerError
}

// Limits of the aborts for callers that have gone: they must neither take long nor flood a
// server in trouble.
const (
	abortTimeout = 2 * time.Second
	abortsAtOnce = 16
)

// watchCallers aborts the members of a call whose callers go away, by their rids, until stop
// is called. It empties the rid of a member that it has aborted.
func (a *attempt) watchCallers(rids []string) (stop func()) {
	stopped, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case i := <-a.batch.Gone:
				if rid := rids[i]; rid != "" {
					rids[i] = ""
					a.aborts.Go(func() { a.Abort(a.batch.Context(i), rid) })
				}
			case <-stopped:
				return
			}
		}
	}()
	return func() {
		close(stopped)
		<-done
	}
}

// Abort makes SGLang end the work for rid, which is SGLang's or the proxy's own. caller has
// the trace of the request; it may have ended.
func (u *Upstream) Abort(caller context.Context, rid string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(caller), abortTimeout)
	defer cancel()
	select {
	case u.abortSlots <- struct{}{}:
		defer func() { <-u.abortSlots }()
		// A failed abort costs SGLang some work, but no caller an answer.
		_ = u.client.Abort(ctx, rid)
	case <-ctx.Done():
	}
}
