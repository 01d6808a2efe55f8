package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
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
	encoded  bool // it came as text and goes as ids

	generation int // of the model it was checked and encoded for

	sampled bool // the trace of the request that it came with is
	suspect bool // another SGLang went away while it had this prompt
}

// field names the prompt in the contract's words.
func (p *prompt) field() string {
	if len(p.request.InputIDs) > 0 && !p.encoded {
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

// batch is of pointers: what waits is a call's goroutine with its stack, and prompts and
// answers passed by value would make that twice as large.
type batch = batcher.Batch[*prompt, *answer]

// Aborting is done beside the call, for callers that have gone: it must neither
// last nor flood a server that is in trouble.
const (
	abortTimeout = 2 * time.Second
	abortsAtOnce = 16
)

// dispatcher sends batches to SGLang.
type dispatcher struct {
	client    *sglang.Client
	upstream  *upstream
	stream    bool          // answer each member as soon as SGLang is done with it
	outage    time.Duration // longest time to wait for SGLang to come back
	elsewhere func() bool   // another SGLang could take what this one lost
	log       *slog.Logger

	aborts sync.WaitGroup // aborts that are not done
	slots  chan struct{}  // bounds the aborts at once

	receipts receipts
	tracer   *tracer  // nil: no spans
	metrics  *metrics // nil: none
	recent   recentBatches

	alone sync.Mutex // held while a prompt that SGLang may have died of is sent alone
}

func newDispatcher(cfg Config, u *upstream, log *slog.Logger) *dispatcher {
	return &dispatcher{
		client: u.client, upstream: u, stream: cfg.StreamAnswers, outage: cfg.MaxOutage, log: log, slots: make(chan struct{}, abortsAtOnce),
		elsewhere: func() bool { return false },
	}
}

// wait returns when no abort is running. No dispatch may be running any more.
func (d *dispatcher) wait() { d.aborts.Wait() }

// Send implements batcher.Sender: it sends a batch as one call and answers each
// member as soon as its answer is here. Those that are left fail with the error of
// the last call.
func (d *dispatcher) Send(ctx context.Context, b *batch) []batcher.Result[*answer] {
	err := d.dispatch(ctx, b)
	if err == nil {
		return nil
	}
	results := make([]batcher.Result[*answer], b.Len())
	for i := range results {
		results[i].Err = err
	}
	return results
}

func (d *dispatcher) dispatch(ctx context.Context, b *batch) (err error) {
	ctx, spans := d.tracer.batch(ctx, d, b)
	d.metrics.released(b)
	f := &flight{dispatcher: d, batch: b, ctx: ctx, sent: time.Now(), attempts: make([]int, b.Len()), ended: make([]bool, b.Len()), rids: make([]string, b.Len()), spans: spans}
	for i := range b.Len() {
		defer context.AfterFunc(b.Context(i), func() { f.giveUp(i) })()
	}
	f.facts = &batchFacts{id: b.ID(), reason: releaseReason(b.Reason()), size: b.Len(), predicted: b.Predicted()}
	defer func() {
		f.tell()
		spans.end(f.facts, f.split, err)
	}()
	members := make([]int, b.Len())
	for i := range members {
		members[i] = i
	}
	if f.send(members) == batcher.Bad {
		if len(members) == 1 {
			f.blame(0)
		} else {
			b.Split()
			d.metrics.split()
			f.split = true
			batcher.Isolate(members, f.guilty(members), f.send, f.blame)
		}
	}
	if f.died {
		f.sendAlone(members)
	}
	if ctx.Err() != nil {
		return ctx.Err() // nobody waits any more, or the batcher closes
	}
	return f.err // of the members that are left
}

// sendAlone sends members one by one, of which one may have ended SGLang: it came
// back, but they were there when it went. No two batches do so at once. A prompt
// that it goes away with a second time is not sent again.
func (f *flight) sendAlone(members []int) {
	f.alone.Lock()
	defer f.alone.Unlock()
	for _, i := range f.present(members) {
		f.died = f.batch.Value(i).suspect
		outcome := batcher.Stop
		if !f.died {
			outcome = f.send([]int{i})
		}
		switch outcome {
		case batcher.Bad:
			f.blame(i)
		case batcher.Stop:
			if !f.died {
				return
			}
			f.log.ErrorContext(f.ctx, "SGLang went away twice with one prompt, which is not sent again", "batch", f.batch.ID(), "member", i)
			f.end(i, errDeadly)
		}
	}
}

// errOtherModel ends a prompt of token ids that were checked, or made, for a
// model that SGLang does not serve any more.
var errOtherModel = &notReadyError{"SGLang serves another model than when this request came"}

// errDeadly ends a prompt that SGLang went away with twice.
var errDeadly = errors.New("SGLang went away twice while it had this prompt, which is not sent again")

// flight is one batch on its way.
type flight struct {
	*dispatcher
	batch    *batch
	ctx      context.Context
	sent     time.Time
	attempts []int  // by member
	ended    []bool // by member: it has its answer, or an error of its own
	err      error  // of the last call
	broken   bool   // SGLang broke a call off
	died     bool   // it went away after that, and came back
	split    bool   // it was sent again in parts
	spans    *batchTrace

	sending sync.Mutex // guards rids
	rids    []string   // by member: its name at SGLang while that has it

	facts *batchFacts
}

// tell lets the status know of the batch that ended.
func (f *flight) tell() {
	now := time.Now()
	f.facts.took = now.Sub(f.batch.Released())
	f.metrics.dispatched(f.ctx, f.facts)
	f.recent.add(f.facts, now)
}

// send sends some members as one call. A call that SGLang itself failed is
// repeated whole, for prefill is safe to repeat, as far as the batcher allows;
// Bad means that one of the members is to blame.
func (f *flight) send(members []int) batcher.Outcome {
	for attempt := 1; ; attempt++ {
		members = f.present(members)
		if len(members) == 0 {
			return batcher.Good
		}
		f.err = f.call(members)
		if f.ctx.Err() != nil {
			return batcher.Stop
		}
		switch judge(f.err) {
		case fine:
			f.batch.Succeeded()
			return batcher.Good
		case itemsFault:
			f.batch.Succeeded()
			return batcher.Bad
		case final:
			f.report()
			return batcher.Stop
		}
		f.report()
		if kindOf(f.err) == sglang.KindUnreachable && f.elsewhere() {
			return batcher.Stop
		}
		if kindOf(f.err) == sglang.KindUnreachable && f.outage > 0 {
			// It may die only a moment after it broke a connection off.
			f.broken = f.broken || wasSent(f.err)
			away, back := f.upstream.comeBack(f.ctx, f.outage)
			switch {
			case away && !back:
				return batcher.Stop
			case away && f.broken:
				f.broken, f.died = false, true
				return batcher.Stop
			case away:
				attempt--
				continue
			}
		}
		if f.batch.Retry(f.ctx, attempt) {
			f.metrics.retried()
			continue
		}
		if perhapsItemsFault(f.err) {
			return batcher.Bad
		}
		return batcher.Stop
	}
}

// fault is what a call's error says.
type fault uint8

const (
	fine       fault = iota
	itemsFault       // one of the prompts is to blame
	passing          // SGLang failed, and may not the next time
	final            // SGLang fails whatever is sent
)

// duplicateID is how SGLang refuses an id that it still holds, of a call that
// was repeated; the next one has new ids.
const duplicateID = "Duplicate request ID"

func judge(err error) fault {
	var e *sglang.Error
	switch {
	case err == nil:
		return fine
	case !errors.As(err, &e):
		return final
	case e.Kind == sglang.KindRejected && strings.Contains(e.Message, duplicateID):
		return passing
	case e.Kind == sglang.KindRejected, e.Kind == sglang.KindTooLong:
		return itemsFault
	case e.Kind == sglang.KindServer, e.Kind == sglang.KindBusy, e.Kind == sglang.KindUnreachable, e.Kind == sglang.KindAborted:
		return passing
	}
	return final
}

// kindOf is what SGLang's error means; KindServer for none of its.
func kindOf(err error) sglang.Kind {
	var e *sglang.Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return sglang.KindServer
}

// wasSent says whether some of a call that brought no answer may have reached
// SGLang.
func wasSent(err error) bool {
	var e *sglang.Error
	return errors.As(err, &e) && e.Sent
}

// perhapsItemsFault says whether a failure that repeating did not cure may come
// from one of the prompts.
func perhapsItemsFault(err error) bool {
	var e *sglang.Error
	return errors.As(err, &e) && e.Status == http.StatusInternalServerError
}

// guilty is the member that the error names, or -1.
func (f *flight) guilty(members []int) int {
	var e *sglang.Error
	if errors.As(f.err, &e) && e.Item > 0 && e.Item <= len(members) {
		return members[e.Item-1]
	}
	return -1
}

// blame ends a member with the error of the last call, which was about it.
func (f *flight) blame(i int) { f.fail(i, f.err) }

// present leaves out the members that have ended, or whose caller has gone.
func (f *flight) present(members []int) []int {
	var here []int
	for _, i := range members {
		switch p := f.batch.Value(i); {
		case f.ended[i] || f.batch.Context(i).Err() != nil:
		case p.generation != f.upstream.state().generation && len(p.request.InputIDs) > 0:
			f.end(i, errOtherModel)
		default:
			here = append(here, i)
		}
	}
	return here
}

// call is one call to SGLang, which ends the members that it answers. A caller that goes away meanwhile has its own
// prompt aborted by rid; the call goes on for its neighbours.
func (f *flight) call(members []int) error {
	f.facts.calls++
	first := f.batch.Value(members[0])
	call := sglang.Call{
		Requests: make([]sglang.Request, len(members)),
		Priority: first.priority,
		LoRA:     first.lora,
	}
	for k, i := range members {
		f.attempts[i]++
		call.Requests[k] = f.batch.Value(i).request
		if f.attempts[i] > 1 {
			// SGLang may still hold the id of the attempt that failed, and would
			// refuse a second request of that id.
			call.Requests[k].RID = sglang.NewRID()
		}
		f.atSGLang(i, call.Requests[k].RID)
	}
	ctx, done := f.spans.call(f.ctx, len(members), f.facts.calls)
	began, input, output := time.Now(), 0, 0
	err := f.generate(ctx, call, func(k int, r sglang.Result) {
		if r.Err == nil {
			input, output = input+r.Answer.Meta.PromptTokens, output+r.Answer.Meta.CompletionTokens
		}
		f.over(members[k]) // it is done at SGLang, and its caller may go
		f.deliver(members[k], r)
	})
	done(err)
	f.metrics.called(ctx, f.upstream.state().model(), began, input, output, err)
	for _, i := range members {
		if f.ctx.Err() != nil {
			f.giveUp(i) // the batcher closes: SGLang need not go on either
		} else {
			f.over(i)
		}
	}
	return err
}

// generate sends a call and calls each with every result.
func (f *flight) generate(ctx context.Context, call sglang.Call, each func(k int, r sglang.Result)) error {
	if f.stream && !slices.ContainsFunc(call.Requests, func(r sglang.Request) bool { return r.KeepRaw }) {
		return f.client.GenerateEach(ctx, call, each)
	}
	results, err := f.client.Generate(ctx, call)
	for k, r := range results {
		each(k, r)
	}
	return err
}

// atSGLang notes that SGLang is about to get a member by the name of rid. It is aborted
// there if its caller goes before it is over.
func (f *flight) atSGLang(i int, rid string) {
	f.sending.Lock()
	f.rids[i] = rid
	f.sending.Unlock()
	if f.batch.Context(i).Err() != nil {
		f.giveUp(i) // it may have gone before SGLang had it
	}
}

// over notes that SGLang is done with a member.
func (f *flight) over(i int) {
	f.sending.Lock()
	defer f.sending.Unlock()
	f.rids[i] = ""
}

// giveUp has SGLang abort a member, if it has it, and does not wait for that.
func (f *flight) giveUp(i int) {
	f.sending.Lock()
	defer f.sending.Unlock()
	if rid := f.rids[i]; rid != "" {
		f.rids[i] = ""
		f.aborts.Add(1) // under the lock: before the call is over
		go f.abort(f.batch.Context(i), rid)
	}
}

// abort ends the work for rid at SGLang and calls aborts.Done.
func (d *dispatcher) abort(caller context.Context, rid string) {
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
}

// deliver ends a member with its result.
func (f *flight) deliver(i int, r sglang.Result) {
	f.ended[i] = true
	if r.Err != nil {
		f.fail(i, r.Err)
		return
	}
	meta := &r.Answer.Meta
	f.facts.answered++
	f.facts.prompt += meta.PromptTokens
	f.facts.cached += meta.CachedTokens
	a := &answer{r.Answer, time.Since(f.sent), f.attempts[i]}
	f.spans.member(i, a, nil)
	f.batch.Answer(i, batcher.Result[*answer]{Value: a, Usage: batcher.Usage{PromptTokens: meta.PromptTokens, CachedTokens: meta.CachedTokens}})
}

// fail ends a member with its error. What SGLang rejects is wrong with the
// prompt.
func (f *flight) fail(i int, err error) {
	var e *sglang.Error
	if errors.As(err, &e) && e.Kind == sglang.KindRejected {
		err = &fieldError{f.batch.Value(i).field(), "SGLang refused it: " + e.Message}
	}
	f.end(i, err)
}

// end ends a member with an error.
func (f *flight) end(i int, err error) {
	f.ended[i] = true
	f.spans.member(i, nil, err)
	f.batch.Answer(i, batcher.Result[*answer]{Err: err})
}

// report tells of a call that failed through no fault of a prompt: to the log,
// and to the watch if SGLang seems away.
func (f *flight) report() {
	f.log.WarnContext(f.ctx, "a call to SGLang failed", "batch", f.batch.ID(), "requests", f.batch.Len(), "error", f.err)
	if kindOf(f.err) == sglang.KindUnreachable {
		f.upstream.suspect()
	}
}
