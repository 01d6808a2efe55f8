package api

import (
	pb "paceline/proto/paceline/v1"
	"paceline/proxy/upstream"
	"paceline/sglang"
)

// reply is SGLang's answer in the contract's words.
func reply(req *pb.PrefillRequest, a *upstream.Answer, receipt *pb.Receipt) *pb.PrefillResponse {
	m := &a.Meta
	r := &pb.PrefillResponse{
		RequestId:        req.GetRequestId(),
		PromptTokens:     uint32(m.PromptTokens),
		CachedTokens:     uint32(m.CachedTokens),
		CompletionTokens: uint32(m.CompletionTokens),
		FinishReason:     finishReason(m.FinishReason),
		FirstToken:       firstToken(a.Answer),
		Receipt:          receipt,
	}
	if r.RequestId == "" {
		r.RequestId = m.ID
	}
	if req.GetLogprobs() != nil {
		r.Logprobs = &pb.Logprobs{
			Prompt:     positions(m.InputTokenLogprobs, m.InputTopLogprobs, m.InputIDsLogprobs),
			Completion: positions(m.OutputTokenLogprobs, m.OutputTopLogprobs, m.OutputIDsLogprobs),
		}
	}
	return r
}

func finishReason(f *sglang.FinishReason) pb.FinishReason {
	if f == nil {
		return pb.FinishReason_FINISH_REASON_UNSPECIFIED
	}
	switch f.Type {
	case "length":
		return pb.FinishReason_FINISH_REASON_LENGTH
	case "stop":
		return pb.FinishReason_FINISH_REASON_STOP
	}
	return pb.FinishReason_FINISH_REASON_UNSPECIFIED
}

// firstToken is the generated token, or nil. Its text is all the text there is.
func firstToken(a sglang.Answer) *pb.Token {
	if len(a.OutputIDs) == 0 {
		return nil
	}
	t := &pb.Token{Id: a.OutputIDs[0], Text: a.Text}
	if logprobs := a.Meta.OutputTokenLogprobs; len(logprobs) > 0 {
		t.Logprob = logprobs[0].Logprob
	}
	return t
}

// positions joins SGLang's three parallel lists. Each may be absent or shorter:
// at max_new_tokens 0 there is no token after the prompt, only what could follow.
func positions(tokens []sglang.TokenLogprob, top, chosen [][]sglang.TokenLogprob) []*pb.TokenLogprobs {
	all := make([]*pb.TokenLogprobs, max(len(tokens), len(top), len(chosen)))
	for i := range all {
		p := new(pb.TokenLogprobs)
		if i < len(tokens) {
			p.Token = token(tokens[i])
		}
		if i < len(top) {
			p.Top = tokenList(top[i])
		}
		if i < len(chosen) {
			p.Chosen = tokenList(chosen[i])
		}
		all[i] = p
	}
	return all
}

func tokenList(in []sglang.TokenLogprob) []*pb.Token {
	out := make([]*pb.Token, len(in))
	for i := range in {
		out[i] = token(in[i])
	}
	return out
}

func token(t sglang.TokenLogprob) *pb.Token {
	out := &pb.Token{Id: int32(t.ID), Logprob: t.Logprob}
	if t.Text != nil {
		out.Text = *t.Text
	}
	return out
}
