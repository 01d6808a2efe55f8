package api

import (
	"context"
	"net"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/orca"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"

	pb "paceline/proto/paceline/v1"
	"paceline/proxy/telemetry"
	"paceline/proxy/upstream"
	"paceline/sglang"
)

// Service implements PrefillService and ScoreService.
type Service struct {
	pb.UnimplementedPrefillServiceServer
	pb.UnimplementedScoreServiceServer

	up       *upstream.Upstream
	tracer   *telemetry.Tracer // nil: no spans
	stopping context.Context   //nolint:containedctx // of the process
}

// NewService returns a service that submits to up. tracer may be nil. Idle streams end
// when stopping ends.
func NewService(stopping context.Context, up *upstream.Upstream, tracer *telemetry.Tracer) *Service {
	return &Service{up: up, tracer: tracer, stopping: stopping}
}

// Prefill implements PrefillServiceServer.
func (s *Service) Prefill(ctx context.Context, req *pb.PrefillRequest) (*pb.PrefillResponse, error) {
	o := s.up.Submit(ctx, HostOf(ctx), func(l upstream.Limits) (*upstream.Prompt, error) { return validate(req, l) })
	if o.Err != nil {
		return nil, upstream.ToStatus(o.Err).Err()
	}
	if err := sendReceipt(ctx, o.Receipt); err != nil {
		return nil, upstream.ToStatus(err).Err()
	}
	return reply(req.GetRequestId(), req.GetLogprobs() != nil, o.Answer, o.Receipt), nil
}

// receiptTrailer carries a Receipt message. grpc-go encodes values of keys in -bin.
const receiptTrailer = "paceline-receipt-bin"

// sendReceipt puts a receipt into the trailers of the call of ctx, and the proxy's load if
// the server reports it with each call.
func sendReceipt(ctx context.Context, r *pb.Receipt) error {
	_ = orca.CallMetricsRecorderFromContext(ctx) // without this call grpc reports no load
	data, err := proto.Marshal(r)
	if err != nil {
		return err
	}
	return grpc.SetTrailer(ctx, metadata.Pairs(receiptTrailer, string(data)))
}

// HostOf returns the host of the peer, without the port. It distinguishes callers that have
// no key.
func HostOf(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	if p.Addr.Network() == "bufconn" { // our own gateway, which names the client
		return forwardedFor(ctx)
	}
	if tcp, ok := p.Addr.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().String()
	}
	host, _, err := net.SplitHostPort(p.Addr.String())
	if err != nil {
		return p.Addr.String()
	}
	return host
}

// forwardedFor returns the last address of X-Forwarded-For: the gateway appends the address
// of its peer.
func forwardedFor(ctx context.Context) string {
	all := metadata.ValueFromIncomingContext(ctx, "x-forwarded-for")
	if len(all) == 0 {
		return ""
	}
	last := all[len(all)-1]
	return strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
}

// reply converts SGLang's answer to a message of the contract.
func reply(id string, logprobs bool, a *upstream.Answer, receipt *pb.Receipt) *pb.PrefillResponse {
	m := &a.Meta
	r := &pb.PrefillResponse{
		RequestId:        id,
		PromptTokens:     uint32(m.PromptTokens),
		CachedTokens:     uint32(m.CachedTokens),
		CompletionTokens: uint32(m.CompletionTokens),
		FirstToken:       firstToken(a.Answer),
		Receipt:          receipt,
	}
	if m.FinishReason != nil {
		r.FinishReason = finishReasons[m.FinishReason.Type]
	}
	if r.RequestId == "" {
		r.RequestId = m.ID
	}
	if logprobs {
		r.Logprobs = &pb.Logprobs{
			Prompt:     positions(m.InputTokenLogprobs, m.InputTopLogprobs, m.InputIDsLogprobs),
			Completion: positions(m.OutputTokenLogprobs, m.OutputTopLogprobs, m.OutputIDsLogprobs),
		}
	}
	return r
}

// finishReasons are the reasons of the contract by SGLang's names.
var finishReasons = map[string]pb.FinishReason{
	"length": pb.FinishReason_FINISH_REASON_LENGTH, "stop": pb.FinishReason_FINISH_REASON_STOP,
}

// firstToken returns the generated token, or nil. Its text is the whole text.
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

// positions joins SGLang's three parallel lists. Each may be absent or shorter: at
// max_new_tokens 0 there is no token after the prompt, only candidates.
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
