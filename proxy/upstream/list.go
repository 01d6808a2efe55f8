package upstream

import (
	"context"
	"slices"

	"paceline/batcher"
	"paceline/sglang"
)

// SubmitList submits the prompts of one request, and calls each with their outcomes as they
// end, on the goroutine of its caller. It submits all or none: an error refuses the request,
// and each is not called. bytes is how much all prompts take, a token id counts 4. parse
// makes prompt i, from 0 on; it is called for one after the other, with the same limits. If
// each returns false, the prompts that are left are cancelled, and each is not called again.
// Each prompt counts against the rate of its caller.
func (u *Upstream) SubmitList(ctx context.Context, host string, n int, bytes int64,
	parse func(i int, l Limits) (*Prompt, error), each func(i int, o Outcome) bool) error {
	s := u.begin(ctx)
	items, err := s.items(CallerOf(ctx, host), n, bytes, parse)
	if err != nil {
		return s.failed(err).Err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type end struct {
		i       int
		outcome func() Outcome
	}
	ended := make(chan end, n)
	for i, item := range items {
		s.submitFunc(ctx, item, func(outcome func() Outcome) { ended <- end{i, outcome} })
	}
	for going := true; n > 0; n-- {
		e := <-ended
		if o := e.outcome(); going && !each(e.i, o) {
			going = false
			cancel()
		}
	}
	return nil
}

func (s *submission) items(
	caller Caller, n int, bytes int64, parse func(i int, l Limits) (*Prompt, error),
) ([]batcher.Item[*Prompt], error) {
	if err := s.Queue.Room(n, bytes); err != nil { // before anything is made for each prompt
		return nil, err
	}
	items, first := make([]batcher.Item[*Prompt], n), caller
	for i := range items {
		var err error
		if items[i], err = s.item(first, func(l Limits) (*Prompt, error) { return parse(i, l) }); err != nil {
			return nil, err
		}
		first.Rate = nil // the others count below: a list that is refused counts once
	}
	caller.count(n - 1)
	return items, nil
}

// Counted returns a context whose request does not count again against the rate of its
// caller.
func Counted(ctx context.Context) context.Context {
	c := CallerOf(ctx, "")
	if c.Rate == nil {
		return ctx
	}
	c.Rate = nil
	return WithCaller(ctx, &c)
}

// sharesLabels says whether the prompt is merged with others that differ only in the tokens
// whose log probabilities they ask for. One prompt asks for all of them then.
func (p *Prompt) sharesLabels() bool {
	o := p.Request.Logprobs
	return o != nil && o.PromptStart == nil && !p.Request.KeepRaw
}

// allLabels returns the options with which p is sent for these prompts, which are merged.
func (p *Prompt) allLabels(prompts []*Prompt) *sglang.LogprobOptions {
	if len(prompts) <= 1 || !p.sharesLabels() {
		return p.Request.Logprobs
	}
	all := *p.Request.Logprobs
	all.TokenIDs = nil
	for _, p := range prompts {
		all.TokenIDs = append(all.TokenIDs, p.Request.Logprobs.TokenIDs...)
	}
	slices.Sort(all.TokenIDs)
	all.TokenIDs = slices.Compact(all.TokenIDs)
	return &all
}

// of returns the part of an answer to several prompts that p asked for.
func (a *Answer) of(p *Prompt) *Answer {
	if !p.sharesLabels() {
		return a
	}
	own := *a
	own.Meta.OutputIDsLogprobs = nil
	if len(p.Request.Logprobs.TokenIDs) == 0 {
		return &own
	}
	for _, row := range a.Meta.OutputIDsLogprobs {
		byID := make(map[int]sglang.TokenLogprob, len(row))
		for _, t := range row {
			byID[t.ID] = t
		}
		var chosen []sglang.TokenLogprob
		for _, id := range p.Request.Logprobs.TokenIDs {
			if t, found := byID[int(id)]; found {
				chosen = append(chosen, t)
			}
		}
		own.Meta.OutputIDsLogprobs = append(own.Meta.OutputIDsLogprobs, chosen)
	}
	return &own
}
