package upstream

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"paceline/batcher"
	"paceline/batcher/prefix"
	"paceline/proxy/telemetry"
	"paceline/sglang"
)

// Passed is the prompt of a request that is passed on, as far as it is known.
type Passed struct {
	Prompt // unless Chat is given

	// Chat is the beginning of a prompt that SGLang's template makes: tools and messages,
	// as JSON. Chats of equal beginnings are taken for prompts of equal beginnings; a wrong
	// guess only makes a request wait for nothing.
	Chat string

	Space  string // what else the beginning of a chat's prompt depends on
	Silent bool   // it does not stream
	Body   []byte // of a chat
	Blocks int    // of the prefix; Admit sets it
}

// Admit waits until SGLang should see a request: see batcher.Admit.
func (u *Upstream) Admit(ctx context.Context, s *Snapshot, p *Passed) (*batcher.Grant, error) {
	q := batcher.Passing{Silent: p.Silent, Trace: trace.SpanContextFromContext(ctx)}
	if !u.cfg.ShareAcrossKeys {
		p.owner = CallerOf(ctx, "").Name
	}
	switch r := &p.Request; {
	case s.SharesNothing != "":
	case p.Chat != "" && p.Silent && s.Lacks("/v1/tokenize", "messages"): // its leader could not be prefilled
	case p.Chat != "":
		q.Prefix = prefix.OfText(p.Chat, "chat "+p.LoRA+"\x00"+p.owner+"\x00"+p.Space)
	default:
		if s.tokenizer != nil && r.Text != "" {
			r.InputIDs, r.Text = s.tokenizer.Encode(r.Text), ""
		}
		q.Prefix = p.prefix()
	}
	p.Blocks = len(q.Prefix)
	g, err := u.Queue.Admit(ctx, q)
	if err != nil {
		return nil, err
	}
	span := trace.SpanFromContext(ctx)
	span.SetAttributes(attribute.String(telemetry.Role, g.Role.String()), attribute.Float64(telemetry.Held, g.Held.Seconds()))
	if leader, known := g.Leader.(trace.SpanContext); known && leader.IsSampled() {
		role := attribute.String(telemetry.Role, batcher.Leader.String())
		span.AddLink(trace.Link{SpanContext: leader, Attributes: []attribute.KeyValue{role}})
	}
	return g, nil
}

// Prefill makes SGLang compute the prompt of a request, without new tokens, and returns its
// counts.
func (u *Upstream) Prefill(ctx context.Context, p *Passed) (n batcher.Usage, err error) {
	r := p.Request
	r.RID = sglang.NewRID()
	if p.Chat != "" {
		ids, err := u.client.TokenizeChat(ctx, p.Body)
		if err != nil {
			return n, err
		}
		r.InputIDs = ids
	}
	results, err := u.client.Generate(ctx, sglang.Call{Requests: []sglang.Request{r}, LoRA: p.LoRA})
	if err != nil {
		return n, err
	}
	meta := results[0].Answer.Meta
	return batcher.Usage{PromptTokens: meta.PromptTokens, CachedTokens: meta.CachedTokens}, results[0].Err
}
