package server

import (
	"context"
	"errors"
	"strconv"
	"time"

	"paceline/batcher"
	"paceline/batcher/prefix"
	pb "paceline/proto/paceline/v1"
	"paceline/sglang"
)

// prefillService implements PrefillService.
type prefillService struct {
	pb.UnimplementedPrefillServiceServer

	pool       *pool
	lengths    lengths
	identities identities
	stopping   context.Context // ends idle streams when the process does
}

// Prefill implements PrefillServiceServer.
func (p *prefillService) Prefill(ctx context.Context, req *pb.PrefillRequest) (*pb.PrefillResponse, error) {
	r, err := p.answer(ctx, req)
	if err != nil {
		return nil, statusOf(err).Err()
	}
	if err := sendReceipt(ctx, r.GetReceipt()); err != nil {
		return nil, statusOf(err).Err()
	}
	return r, nil
}

// answer answers one request.
func (p *prefillService) answer(ctx context.Context, req *pb.PrefillRequest) (*pb.PrefillResponse, error) {
	a, receipt, err := p.submit(ctx, &prompt{}, callerOf(ctx), checked(req))
	if err != nil {
		return nil, err
	}
	return reply(req, a, receipt), nil
}

// checked makes a prompt of a request.
func checked(req *pb.PrefillRequest) func(*prompt, limits) error {
	return func(value *prompt, l limits) (err error) {
		*value, err = validate(req, l)
		return err
	}
}

// submit has a prompt answered for a caller, once check, which may change it, has
// held it against the limits of what SGLang serves now.
func (p *prefillService) submit(ctx context.Context, value *prompt, caller string, check func(*prompt, limits) error) (*answer, *pb.Receipt, error) {
	s := p.submission(ctx, value, caller, check)
	if err := s.open(ctx); err != nil {
		return s.ended(nil, nil, err)
	}
	return s.ended(s.place(ctx))
}

// submission is a prompt on its way to an SGLang, or from one that went away to
// another.
type submission struct {
	service *prefillService
	value   *prompt // as it came
	check   func(*prompt, limits) error
	caller  string
	weight  float64
	trace   context.Context //nolint:containedctx // as tracer.sampled has it
	began   time.Time
	first   *upstreamState // when it came

	state   *upstreamState        // of the server that request was made for
	request batcher.Item[*prompt] // checked, and encoded

	tried    []*backend // that went away
	lost     error      // how the last of them ended it
	suspects int        // SGLangs that went away while they had it
}

func (p *prefillService) submission(ctx context.Context, value *prompt, caller string, check func(*prompt, limits) error) submission {
	return submission{
		service: p, value: value, check: check, caller: caller,
		trace: p.pool.tracer.sampled(ctx), began: time.Now(), first: p.pool.state(),
	}
}

func (s *submission) sampled() bool { return s.trace != context.Background() }

// open checks whether the prompt may be sent, and makes the request.
func (s *submission) open(ctx context.Context) error {
	if key := keyOf(ctx); key != nil {
		s.caller, s.weight = key.name, key.weight
		if err := key.take(); err != nil {
			return err
		}
	}
	if !s.first.ready {
		return &notReadyError{s.first.reason}
	}
	return s.prepare(s.first)
}

// ended counts its end.
func (s *submission) ended(a *answer, receipt *pb.Receipt, err error) (*answer, *pb.Receipt, error) {
	s.service.pool.metrics.ended(s.trace, s.first.model(), s.began, err)
	return a, receipt, err
}

// place finds an SGLang for a prompt, and another where that goes away.
func (s *submission) place(ctx context.Context) (*answer, *pb.Receipt, error) {
	for {
		b, err := s.choose()
		if err != nil {
			return nil, nil, err
		}
		l := landing{backend: b, began: time.Now()}
		l.answer, l.receipt, l.err = s.sendTo(ctx, b)
		if a, receipt, err, again := s.landed(ctx, l); !again {
			return a, receipt, err
		}
	}
}

// placeFunc is place for who can't wait: then is called once with how the first SGLang
// ended the prompt, by whoever ends it, and must not block. What landed makes of that
// is the caller's to ask for.
func (s *submission) placeFunc(ctx context.Context, then func(landing)) error {
	b, err := s.choose()
	if err != nil {
		return err
	}
	began := time.Now()
	if err = s.meet(b); err == nil {
		err = b.batcher.SubmitFunc(ctx, s.request, func(a *answer, r batcher.Receipt, err error) { then(landing{b, began, a, r, err}) })
	}
	if err != nil {
		then(landing{backend: b, began: began, err: err})
	}
	return nil
}

// choose chooses an SGLang that the prompt was not lost at.
func (s *submission) choose() (*backend, error) {
	p := s.service.pool
	switch b := p.choose(s.tried); {
	case b != nil:
		return b, nil
	case s.lost == nil:
		return nil, &notReadyError{p.state().reason}
	default:
		return nil, s.lost
	}
}

// landing is how one SGLang ended a prompt.
type landing struct {
	backend *backend
	began   time.Time
	answer  *answer
	receipt batcher.Receipt
	err     error
}

// landed says what comes of it: an end, or that it is to be placed again.
func (s *submission) landed(ctx context.Context, l landing) (_ *answer, _ *pb.Receipt, _ error, again bool) {
	p := s.service
	if s.sampled() {
		p.pool.tracer.placed(ctx, l.backend, l.began, l.receipt, l.answer, l.err)
	}
	if l.receipt.BatchID != 0 {
		p.pool.metrics.waited(s.trace, l.receipt.QueueWait)
	}
	if l.err == nil {
		p.lengths.learn(&s.request.Value.request, l.answer.Meta.PromptTokens)
		return l.answer, l.backend.receipts.write(l.receipt, l.answer), nil, false
	}
	if ctx.Err() != nil || !s.mayMove(l.backend, l.err) {
		return nil, nil, s.orLost(l.err), false
	}
	return nil, nil, nil, true
}

// prepare makes the request for a server.
func (s *submission) prepare(state *upstreamState) error {
	v := new(*s.value)
	if err := s.check(v, state.limits); err != nil {
		return err
	}
	if err := state.encoder.apply(v, state.limits); err != nil {
		return err
	}
	v.request.RID, v.generation, v.sampled = sglang.NewRID(), state.generation, s.sampled()
	s.state = state
	names, key := v.prefix(), batchKey(v)
	s.request = batcher.Item[*prompt]{
		Value:    v,
		Bytes:    len(v.request.Text) + 4*len(v.request.InputIDs),
		Tokens:   s.service.lengths.tokens(&v.request),
		Key:      key,
		Priority: v.lanePriority(),
		Caller:   s.caller,
		Weight:   s.weight,
		Prefix:   names,
		MergeKey: s.service.identities.of(v, key, names),
	}
	return nil
}

// change gives the request a prompt that is another in something: the SGLang that went
// away may still look at the one that it had.
func (s *submission) change(how func(*prompt)) {
	next := new(*s.request.Value)
	how(next)
	s.request.Value = next
}

// meet makes the request one for this SGLang.
func (s *submission) meet(b *backend) error {
	if state := b.upstream.state(); state != s.state && !state.alike(s.state) {
		if err := s.prepare(state); err != nil {
			return err
		}
	}
	if generation := b.upstream.state().generation; generation != s.request.Value.generation {
		s.change(func(p *prompt) { p.generation = generation })
	}
	return nil
}

// sendTo has the request answered by one SGLang.
func (s *submission) sendTo(ctx context.Context, b *backend) (*answer, batcher.Receipt, error) {
	if err := s.meet(b); err != nil {
		return nil, batcher.Receipt{}, err
	}
	if s.suspects > 0 {
		// An SGLang went away while it had this prompt: perhaps because of it. So it
		// is sent alone, and one such prompt at a time.
		select {
		case s.service.pool.suspect <- struct{}{}:
			defer func() { <-s.service.pool.suspect }()
		case <-ctx.Done():
			return nil, batcher.Receipt{}, ctx.Err()
		}
		s.change(func(p *prompt) { p.suspect = true })
		s.request.Key, s.request.MergeKey = s.request.Key+" alone", batcher.MergeKey{}
	}
	return b.batcher.Submit(ctx, s.request)
}

// mayMove says whether a request that one SGLang did not answer, because it went
// away, may go to another: once it may have been the cause, but not twice.
func (s *submission) mayMove(b *backend, err error) bool {
	var paused *batcher.PausedError
	moved := errors.As(err, &paused) ||
		kindOf(err) == sglang.KindUnreachable || errors.Is(err, batcher.ErrClosed) || errors.Is(err, batcher.ErrDraining)
	if !moved || !s.service.pool.otherReady(b) {
		return false
	}
	if wasSent(err) {
		s.suspects++
	}
	s.tried, s.lost = append(s.tried, b), err
	s.change(func(p *prompt) { p.request.RID = sglang.NewRID() })
	if s.suspects > 1 {
		s.lost = errDeadly
		s.service.pool.log.Error("two SGLangs went away while they had the same prompt, which is not sent again")
		return false
	}
	return true
}

// orLost is err, unless the prompt is known to be the cause.
func (s *submission) orLost(err error) error {
	if s.suspects > 1 {
		return s.lost
	}
	return err
}

// lanePriority orders what waits here as SGLang would order it.
func (p *prompt) lanePriority() int {
	if p.priority == nil {
		return 0
	}
	return int(*p.priority)
}

// prefix names the beginnings of the prompt. Nothing is shared across adapters
// and salts. A prompt of which log probabilities are asked for from some position
// on is computed from there whatever is cached.
func (p *prompt) prefix() prefix.Prefix {
	r := &p.request
	if r.Logprobs != nil && r.Logprobs.PromptStart != nil {
		return nil
	}
	space := p.lora + "\x00" + r.CacheSalt
	if len(r.InputIDs) > 0 {
		return prefix.OfTokens(r.InputIDs, space)
	}
	return prefix.OfText(r.Text, space)
}

// batchKey separates what can't or should not share a call: SGLang takes
// priority and adapter once per call, a call holds only one kind of prompt, and
// a list in which nothing is generated skips sampling altogether.
func batchKey(p *prompt) string {
	key := make([]byte, 0, 32)
	if len(p.request.InputIDs) > 0 {
		key = append(key, "ids"...)
	} else {
		key = append(key, "text"...)
	}
	key = strconv.AppendInt(append(key, ' '), int64(p.request.MaxNewTokens), 10)
	if p.priority != nil {
		key = strconv.AppendInt(append(key, " p"...), int64(*p.priority), 10)
	}
	if p.lora != "" {
		key = append(append(key, " l"...), p.lora...)
	}
	return string(key)
}
