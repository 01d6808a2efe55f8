package upstream

import (
	"context"

	"paceline/batcher"
	"paceline/batcher/prefix"
	"paceline/sglang"
)

// Passed is the prompt of a request that is passed on, as far as it is known.
type Passed struct {
	Text string // the prompt; or
	IDs  []int32

	// Chat is the beginning of a prompt that SGLang's template makes: tools and messages,
	// as JSON. Chats of equal beginnings are taken for prompts of equal beginnings; a wrong
	// guess only makes a request wait for nothing.
	Chat string

	Space  string // what else a cached beginning depends on: requests of different spaces share nothing
	Salt   string // cache_salt
	LoRA   string
	Silent bool // it does not stream
	Body   []byte

	Blocks int // of the prefix; Admit sets it
}

// Admit waits until SGLang should see a request: see batcher.Admit.
func (u *Upstream) Admit(ctx context.Context, s *Snapshot, p *Passed) (*batcher.Grant, error) {
	q := batcher.Passing{Silent: p.Silent}
	switch space := p.LoRA + "\x00" + p.Salt + p.Space; {
	case !s.Shares():
	case p.Text != "" && s.tokenizer != nil:
		p.IDs, p.Text = s.tokenizer.Encode(p.Text), ""
		q.Prefix = prefix.OfTokens(p.IDs, space)
	case p.Text != "":
		q.Prefix = prefix.OfText(p.Text, space)
	case p.IDs != nil:
		q.Prefix = prefix.OfTokens(p.IDs, space)
	default:
		q.Prefix = prefix.OfText(p.Chat, "chat "+space)
	}
	p.Blocks = len(q.Prefix)
	return u.Queue.Admit(ctx, q)
}

// Shares reports whether a prompt of this SGLang finds what it computed for another:
// replicas that SGLang chooses from have a cache each.
func (s *Snapshot) Shares() bool { return !s.Info.DisableRadixCache && s.Info.DPSize <= 1 }

// Prefill makes SGLang compute the prompt of a request, without new tokens.
func (u *Upstream) Prefill(ctx context.Context, p *Passed) error {
	r := sglang.Request{RID: sglang.NewRID(), Text: p.Text, InputIDs: p.IDs, CacheSalt: p.Salt}
	if p.Text == "" && p.IDs == nil {
		ids, err := u.client.TokenizeChat(ctx, p.Body)
		if err != nil {
			return err
		}
		r.InputIDs = ids
	}
	results, err := u.client.Generate(ctx, sglang.Call{Requests: []sglang.Request{r}, LoRA: p.LoRA})
	if err != nil {
		return err
	}
	return results[0].Err
}
