package server

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"paceline/batcher"
	"paceline/sglang"
)

// prompt is a validated request on its way to SGLang. What SGLang takes once for
// a whole call is equal in a batch, see batchKey.
type prompt struct {
	request  sglang.Request
	priority *int32
	lora     string
}

// field names the prompt in the contract's words.
func (p prompt) field() string {
	if len(p.request.InputIDs) > 0 {
		return "token_ids"
	}
	return "text"
}

// answer is SGLang's answer to one prompt.
type answer struct {
	sglang.Answer
	upstream time.Duration // from sending the batch to having this answer, over all attempts
	attempts int           // calls to SGLang that the prompt took part in
}

type batch = batcher.Batch[prompt, answer]

// Aborting is done beside the call, for callers that have gone: it must neither
// last nor flood a server that is in trouble.
const (
	abortTimeout = 2 * time.Second
	abortsAtOnce = 16
)

// dispatcher sends batches to SGLang.
type dispatcher struct {
	client  *sglang.Client
	suspect func() // called when a call found SGLang away
	log     *slog.Logger

	aborts sync.WaitGroup // aborts that were set up and are not done
	slots  chan struct{}  // bounds the aborts at once
}

func newDispatcher(c *sglang.Client, suspect func(), log *slog.Logger) *dispatcher {
	return &dispatcher{client: c, suspect: suspect, log: log, slots: make(chan struct{}, abortsAtOnce)}
}

// wait returns when no abort is running. No dispatch may be running any more.
func (d *dispatcher) wait() { d.aborts.Wait() }

// dispatch sends a batch as one call and answers each member. It is the
// batcher's Dispatch.
func (d *dispatcher) dispatch(ctx context.Context, b *batch) error {
	f := &flight{dispatcher: d, batch: b, sent: time.Now(), attempts: make([]int, b.Len())}
	members := make([]int, b.Len())
	for i := range members {
		members[i] = i
	}
	return f.send(ctx, members)
}

// flight is one batch on its way.
type flight struct {
	*dispatcher
	batch    *batch
	sent     time.Time
	attempts []int // by member
}

// send sends some members as one call. A list that SGLang rejects is halved and
// its halves are sent again, one after the other, until the culprit is alone:
// SGLang fails the whole list with one message that names no index, and to
// repeat a prefill changes nothing.
func (f *flight) send(ctx context.Context, members []int) error {
	members = f.present(members)
	if len(members) == 0 {
		return nil
	}
	results, err := f.call(ctx, members)
	switch {
	case err == nil:
		f.deliver(members, results)
		return nil
	case ctx.Err() != nil:
		return ctx.Err() // nobody waits any more, or the batcher closes
	case kindOf(err) == sglang.KindRejected && len(members) > 1:
		half := len(members) / 2
		return errors.Join(f.send(ctx, members[:half]), f.send(ctx, members[half:]))
	}
	f.report(err)
	for _, i := range members {
		f.fail(i, err)
	}
	return nil
}

// present leaves out the members whose caller has gone.
func (f *flight) present(members []int) []int {
	var here []int
	for _, i := range members {
		if f.batch.Context(i).Err() == nil {
			here = append(here, i)
		}
	}
	return here
}

// call is one call to SGLang. A caller that goes away meanwhile has its own
// prompt aborted by rid; the call goes on for its neighbours.
func (f *flight) call(ctx context.Context, members []int) ([]sglang.Result, error) {
	first := f.batch.Value(members[0])
	call := sglang.Call{
		Requests: make([]sglang.Request, len(members)),
		Priority: first.priority,
		LoRA:     first.lora,
	}
	stops := make([]func() bool, len(members))
	for k, i := range members {
		f.attempts[i]++
		call.Requests[k] = f.batch.Value(i).request
		if f.attempts[i] > 1 {
			// SGLang may still hold the id of the attempt that failed, and would
			// refuse a second request of that id.
			call.Requests[k].RID = sglang.NewRID()
		}
		stops[k] = f.abortWhenGone(f.batch.Context(i), call.Requests[k].RID)
	}
	results, err := f.client.Generate(ctx, call)
	for _, stop := range stops {
		if stop() {
			f.aborts.Done()
		}
	}
	return results, err
}

// abortWhenGone aborts rid at SGLang once its caller has gone, unless the
// returned function stops that before: then it returns true.
func (d *dispatcher) abortWhenGone(caller context.Context, rid string) (stop func() bool) {
	d.aborts.Add(1)
	return context.AfterFunc(caller, func() {
		defer d.aborts.Done()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(caller), abortTimeout)
		defer cancel()
		select {
		case d.slots <- struct{}{}:
			defer func() { <-d.slots }()
			// A failed abort costs SGLang some work and nobody an answer.
			_ = d.client.Abort(ctx, rid)
		case <-ctx.Done():
		}
	})
}

// deliver hands out the results of a call, one for each member.
func (f *flight) deliver(members []int, results []sglang.Result) {
	spent := time.Since(f.sent)
	for k, i := range members {
		if err := results[k].Err; err != nil {
			f.fail(i, err)
			continue
		}
		f.batch.Answer(i, answer{results[k].Answer, spent, f.attempts[i]})
	}
}

// fail ends a member with its error. What SGLang rejects is wrong with the
// prompt.
func (f *flight) fail(i int, err error) {
	var e *sglang.Error
	if errors.As(err, &e) && e.Kind == sglang.KindRejected {
		err = &fieldError{f.batch.Value(i).field(), "SGLang refused it: " + e.Message}
	}
	f.batch.Fail(i, err)
}

// report tells of a call that failed through no fault of a prompt: to the watch
// if SGLang seems away, else to the log.
func (f *flight) report(err error) {
	switch kindOf(err) {
	case sglang.KindUnreachable:
		f.suspect()
	case sglang.KindServer, sglang.KindProtocol, sglang.KindAuth:
		f.log.Warn("a call to SGLang failed", "batch", f.batch.ID(), "requests", f.batch.Len(), "error", err)
	}
}

func kindOf(err error) sglang.Kind {
	var e *sglang.Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return sglang.KindServer
}
