package api

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"google.golang.org/grpc"

	pb "paceline/proto/paceline/v1"
	"paceline/proxy/upstream"
	"paceline/sglang"
)

// Score implements ScoreServiceServer.
func (s *Service) Score(ctx context.Context, req *pb.ScoreRequest) (*pb.ScoreResponse, error) {
	reply := &pb.ScoreResponse{RequestId: req.GetRequestId(), Items: make([]*pb.ItemScore, len(req.GetItems()))}
	var failed error
	err := s.score(ctx, req, func(i int, score *pb.ItemScore, err error) bool {
		reply.Items[i], failed = score, err
		return err == nil
	})
	if err = cmp.Or(err, failed); err != nil {
		return nil, upstream.ToStatus(err).Err()
	}
	return reply, nil
}

// ScoreStream implements ScoreServiceServer.
func (s *Service) ScoreStream(req *pb.ScoreStreamRequest, stream grpc.ServerStreamingServer[pb.ScoreStreamResponse]) error {
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	var gone error
	err := s.score(stream.Context(), req.GetRequest(), func(i int, score *pb.ItemScore, err error) bool {
		end := &pb.ScoreStreamResponse{Index: uint32(i), Result: &pb.ScoreStreamResponse_Score{Score: score}}
		if err != nil {
			end.Result = &pb.ScoreStreamResponse_Error{Error: errorOf(upstream.ToStatus(err))}
		}
		gone = stream.Send(end)
		return gone == nil
	})
	if err != nil {
		return upstream.ToStatus(err).Err()
	}
	return gone
}

// score calls each with the outcome of every item, as SubmitList does.
func (s *Service) score(ctx context.Context, req *pb.ScoreRequest, each func(i int, score *pb.ItemScore, err error) bool) error {
	items := req.GetItems()
	if len(items) == 0 {
		return upstream.WrongField("items", "must not be empty")
	}
	bytes := len(items) * (len(req.GetText()) + 4*len(req.GetTokenIds()))
	for _, item := range items {
		bytes += len(item.GetText()) + 4*len(item.GetTokenIds())
	}
	parse := func(i int, l upstream.Limits) (*upstream.Prompt, error) {
		if i == 0 {
			if err := validateScore(req, l); err != nil {
				return nil, err
			}
		}
		return scorePrompt(req, i), nil
	}
	return s.up.SubmitList(ctx, HostOf(ctx), len(items), int64(bytes), parse, func(i int, o upstream.Outcome) bool {
		if o.Err != nil {
			return each(i, nil, o.Err)
		}
		m := &o.Answer.Meta
		logprobs, err := m.LabelLogprobs(labelsOf(req, i))
		if err != nil {
			return each(i, nil, err)
		}
		return each(i, &pb.ItemScore{
			Scores:       sglang.Scores(logprobs, req.GetApplySoftmax(), temperatureOf(req)),
			PromptTokens: uint32(m.PromptTokens),
			CachedTokens: uint32(m.CachedTokens),
			Receipt:      o.Receipt,
		}, nil)
	})
}

// scorePrompt makes the prompt of an item of a valid request.
func scorePrompt(req *pb.ScoreRequest, i int) *upstream.Prompt {
	item := req.GetItems()[i]
	p := &upstream.Prompt{Priority: req.Priority, LoRA: req.GetLora(), Place: itemField(i) + "."}
	p.Request = sglang.Request{
		Text: req.GetText() + item.GetText(), CacheSalt: req.GetCacheSalt(),
		Logprobs: &sglang.LogprobOptions{TokenIDs: labelsOf(req, i)},
	}
	if ids := item.GetTokenIds(); len(ids) > 0 {
		p.Request.InputIDs = slices.Concat(req.GetTokenIds(), ids)
	}
	return p
}

func itemField(i int) string { return fmt.Sprintf("items[%d]", i) }

// labelsOf returns the labels of an item.
func labelsOf(req *pb.ScoreRequest, i int) []int32 {
	if own := req.GetItems()[i].GetLabelTokenIds(); len(own) > 0 {
		return own
	}
	return req.GetLabelTokenIds()
}

func temperatureOf(req *pb.ScoreRequest) float64 {
	if req.Temperature == nil {
		return 1
	}
	return req.GetTemperature()
}

// validateScore checks a request with items. The error is a *upstream.FieldError.
func validateScore(req *pb.ScoreRequest, l upstream.Limits) error {
	if err := validatePrefix(req, l); err != nil {
		return err
	}
	switch t := temperatureOf(req); {
	case !(t > 0 && t <= math.MaxFloat64): // also NaN
		return upstream.WrongField("temperature", "must be a number above 0, got %v", t)
	case t != 1 && !req.GetApplySoftmax():
		return upstream.WrongField("temperature", "must be 1 without apply_softmax, got %v", t)
	}
	if err := validateLabels("label_token_ids", req.GetLabelTokenIds(), l); err != nil {
		return err
	}
	for i, item := range req.GetItems() {
		if err := validateItem(itemField(i), req, item, l); err != nil {
			return err
		}
	}
	return nil
}

func validateItem(field string, req *pb.ScoreRequest, item *pb.ScoreItem, l upstream.Limits) error {
	text, ids := item.GetText(), item.GetTokenIds()
	tokens, bytes := len(req.GetTokenIds())+len(ids), len(req.GetText())+len(text)
	switch most := l.MaxTextBytes(); {
	case text == "" && len(ids) == 0:
		return upstream.WrongField(field, "must not be empty: give either text or token_ids")
	case text != "" && (len(ids) > 0 || len(req.GetTokenIds()) > 0):
		return upstream.WrongField(field+".text", "must be absent where token_ids are given: give only one of the two")
	case len(ids) > 0 && req.GetText() != "":
		return upstream.WrongField(field+".token_ids", "must be absent where the state is a text")
	case l.MaxPromptTokens > 0 && tokens > l.MaxPromptTokens:
		return upstream.WrongField(field+".token_ids", "must have at most %d tokens with the state, got %d", l.MaxPromptTokens, tokens)
	case most > 0 && bytes > most:
		return upstream.WrongField(field+".text", "must have at most %d tokens with the state, and %d bytes are more than that",
			l.MaxPromptTokens, bytes)
	case len(item.GetLabelTokenIds()) == 0 && len(req.GetLabelTokenIds()) == 0:
		return upstream.WrongField(field+".label_token_ids", "must not be empty where the request has no label_token_ids")
	}
	if err := l.CheckIDs(field+".token_ids", ids); err != nil {
		return err
	}
	return validateLabels(field+".label_token_ids", item.GetLabelTokenIds(), l)
}

func validateLabels(field string, labels []int32, l upstream.Limits) error {
	seen := make(map[int32]bool, len(labels))
	for i, id := range labels {
		if seen[id] {
			return upstream.WrongField(fmt.Sprintf("%s[%d]", field, i), "%d repeats another label", id)
		}
		seen[id] = true
	}
	return l.CheckIDs(field, labels)
}
