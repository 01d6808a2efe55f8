package server

import (
	"context"
	"strconv"

	"paceline/batcher"
	pb "paceline/proto/paceline/v1"
	"paceline/sglang"
)

// prefillService implements PrefillService.
type prefillService struct {
	pb.UnimplementedPrefillServiceServer

	upstream   *upstream
	batcher    *batcher.Batcher[prompt, answer]
	receipts   receipts
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

// answer answers one request, of either method.
func (p *prefillService) answer(ctx context.Context, req *pb.PrefillRequest) (*pb.PrefillResponse, error) {
	a, receipt, err := p.submit(ctx, prompt{}, callerOf(ctx), func(value *prompt, l limits) (err error) {
		*value, err = validate(req, l)
		return err
	})
	if err != nil {
		return nil, err
	}
	return reply(req, a, p.receipts.write(receipt, a)), nil
}

// submit has a prompt answered for a caller, once check, which may change it, has
// held it against the limits of what SGLang serves now.
func (p *prefillService) submit(ctx context.Context, value prompt, caller string, check func(*prompt, limits) error) (answer, batcher.Receipt, error) {
	var weight float64
	if key := keyOf(ctx); key != nil {
		caller, weight = key.name, key.weight
		if err := key.take(); err != nil {
			return answer{}, batcher.Receipt{}, err
		}
	}
	state := p.upstream.state()
	if !state.ready {
		return answer{}, batcher.Receipt{}, &notReadyError{state.reason}
	}
	if err := check(&value, state.limits); err != nil {
		return answer{}, batcher.Receipt{}, err
	}
	if err := state.encoder.apply(&value, state.limits); err != nil {
		return answer{}, batcher.Receipt{}, err
	}
	value.request.RID, value.generation = sglang.NewRID(), state.generation
	a, receipt, err := p.batcher.Submit(ctx, batcher.Request[prompt]{
		Value:    value,
		Bytes:    len(value.request.Text) + 4*len(value.request.InputIDs),
		Tokens:   p.lengths.tokens(value.request),
		Key:      batchKey(value),
		Priority: value.lanePriority(),
		Caller:   caller,
		Weight:   weight,
		Prefix:   value.prefix(),
		Same:     p.identities.of(value),
	})
	if err == nil {
		p.lengths.learn(value.request, a.Meta.PromptTokens)
	}
	return a, receipt, err
}

// lanePriority orders what waits here as SGLang would order it.
func (p prompt) lanePriority() int {
	if p.priority == nil {
		return 0
	}
	return int(*p.priority)
}

// prefix names the beginnings of the prompt. Nothing is shared across adapters
// and salts. A prompt of which log probabilities are asked for from some position
// on is computed from there whatever is cached.
func (p prompt) prefix() batcher.Prefix {
	r := p.request
	if r.Logprobs != nil && r.Logprobs.PromptStart != nil {
		return nil
	}
	space := p.lora + "\x00" + r.CacheSalt
	if len(r.InputIDs) > 0 {
		return batcher.PrefixOfTokens(r.InputIDs, space)
	}
	return batcher.PrefixOfText(r.Text, space)
}

// batchKey separates what can't or should not share a call: SGLang takes
// priority and adapter once per call, a call holds only one kind of prompt, and
// a list in which nothing is generated skips sampling altogether.
func batchKey(p prompt) string {
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
