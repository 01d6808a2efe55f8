package upstream

import (
	"context"
	"slices"
	"time"

	"paceline/batcher"
	"paceline/sglang"
)

// batch holds pointers: what waits is a call's goroutine with its stack, and prompts
// and answers passed by value would make that twice as large.
type batch = batcher.Batch[*Prompt, *Answer]

// send sends a batch as one call and answers each member. It is the batcher's
// Dispatch.
func (u *Upstream) send(ctx context.Context, b *batch) (err error) {
	a := &attempt{
		Upstream: u, batch: b, sent: time.Now(),
		calls: make([]int, b.Len()), ended: make([]bool, b.Len()), rids: make([]string, b.Len()),
		facts: &BatchFacts{ID: b.ID(), Reason: b.Reason(), Size: b.Len(), Predicted: b.Predicted()},
	}
	a.ctx, a.spans = u.traceBatch(ctx, b)
	u.metrics.Released(b.Reason().String(), b.Len(), b.Limit(), b.Merged())
	b.WhenGone(a.giveUp)
	defer func() {
		a.report()
		a.spans.end(a.facts, a.split, err)
	}()
	a.sendAll()
	if ctx.Err() != nil {
		return ctx.Err() // nobody waits any more, or the batcher closes
	}
	return a.err // of the members that are left
}

// report tells the metrics and the status of the batch that has ended.
func (a *attempt) report() {
	now := time.Now()
	a.facts.Took = now.Sub(a.batch.Released())
	a.metrics.BatchEnded(a.ctx, a.facts.Took, a.facts.Predicted, a.facts.PromptTokens, a.facts.CachedTokens)
	a.recent.add(a.facts, now)
}

// call is one call to SGLang, which ends the members that it answers. A caller that
// goes away meanwhile has its own prompt aborted by rid; the call goes on for its
// neighbours.
func (a *attempt) call(members []int) error {
	a.facts.Calls++
	first := a.batch.Value(members[0])
	call := sglang.Call{
		Requests: make([]sglang.Request, len(members)),
		Priority: first.Priority,
		LoRA:     first.LoRA,
	}
	for k, i := range members {
		a.calls[i]++
		call.Requests[k] = a.batch.Value(i).Request
		if a.calls[i] > 1 {
			// SGLang may still hold the id of the call that failed, and would refuse a
			// second request of that id.
			call.Requests[k].RID = sglang.NewRID()
		}
		a.hold(i, call.Requests[k].RID)
	}
	ctx, done := a.spans.call(a.ctx, len(members), a.facts.Calls)
	began, input, output := time.Now(), 0, 0
	err := a.generate(ctx, call, func(k int, r sglang.Result) {
		if r.Err == nil {
			input, output = input+r.Answer.Meta.PromptTokens, output+r.Answer.Meta.CompletionTokens
		}
		a.drop(members[k]) // it is done at SGLang, and its caller may go
		a.deliver(members[k], r)
	})
	done(err)
	a.metrics.Called(ctx, a.Snapshot().Model(), began, input, output, errorName(err))
	for _, i := range members {
		if a.ctx.Err() != nil {
			a.giveUp(i) // the batcher closes: SGLang need not go on either
		} else {
			a.drop(i)
		}
	}
	return err
}

// generate sends a call and calls each with every result.
func (a *attempt) generate(ctx context.Context, call sglang.Call, each func(k int, r sglang.Result)) error {
	if a.cfg.StreamAnswers && !slices.ContainsFunc(call.Requests, func(r sglang.Request) bool { return r.KeepRaw }) {
		return a.client.GenerateEach(ctx, call, each)
	}
	results, err := a.client.Generate(ctx, call)
	for k, r := range results {
		each(k, r)
	}
	return err
}

// Aborting is done beside the call, for callers that have gone: it must neither
// last nor flood a server that is in trouble.
const (
	abortTimeout = 2 * time.Second
	abortsAtOnce = 16
)

// hold notes that SGLang is about to get a member by the name of rid. It is aborted
// there if its caller goes before it is done.
func (a *attempt) hold(i int, rid string) {
	a.mu.Lock()
	a.rids[i] = rid
	a.mu.Unlock()
	if a.batch.Context(i).Err() != nil {
		a.giveUp(i) // nobody tells of a caller that went before
	}
}

// drop notes that SGLang is done with a member, and returns the name that it had
// there; empty if it was done before.
func (a *attempt) drop(i int) (rid string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	rid, a.rids[i] = a.rids[i], ""
	return rid
}

// giveUp has SGLang abort a member, if it has it, and does not wait for that.
func (a *attempt) giveUp(i int) {
	rid := a.drop(i)
	if rid == "" {
		return
	}
	a.aborts.Add(1)
	go a.abort(a.batch.Context(i), rid)
}

// abort ends the work for rid at SGLang and calls aborts.Done.
func (u *Upstream) abort(caller context.Context, rid string) {
	defer u.aborts.Done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(caller), abortTimeout)
	defer cancel()
	select {
	case u.abortSlots <- struct{}{}:
		defer func() { <-u.abortSlots }()
		// A failed abort costs SGLang some work and nobody an answer.
		_ = u.client.Abort(ctx, rid)
	case <-ctx.Done():
	}
}
