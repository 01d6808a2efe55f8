package api

import (
	"context"
	"net"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/orca"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"

	pb "paceline/proto/paceline/v1"
	"paceline/proxy/telemetry"
	"paceline/proxy/upstream"
)

// Service implements PrefillService.
type Service struct {
	pb.UnimplementedPrefillServiceServer

	up       *upstream.Upstream
	tracer   *telemetry.Tracer // nil: no spans
	stopping context.Context   //nolint:containedctx // of the process
}

// NewService returns a service that answers by way of up. tracer may be nil. Idle
// streams end with stopping.
func NewService(stopping context.Context, up *upstream.Upstream, tracer *telemetry.Tracer) *Service {
	return &Service{up: up, tracer: tracer, stopping: stopping}
}

// Prefill implements PrefillServiceServer.
func (s *Service) Prefill(ctx context.Context, req *pb.PrefillRequest) (*pb.PrefillResponse, error) {
	o := s.up.Submit(ctx, hostOf(ctx), parse(req))
	if o.Err != nil {
		return nil, upstream.ToStatus(o.Err).Err()
	}
	if err := sendReceipt(ctx, o.Receipt); err != nil {
		return nil, upstream.ToStatus(err).Err()
	}
	return reply(req, o.Answer, o.Receipt), nil
}

// parse makes a prompt of a request.
func parse(req *pb.PrefillRequest) upstream.Parse {
	return func(l upstream.Limits) (*upstream.Prompt, error) { return validate(req, l) }
}

// receiptTrailer carries a Receipt message. grpc-go encodes what ends in -bin.
const receiptTrailer = "paceline-receipt-bin"

// sendReceipt puts a receipt into the trailers of the call of ctx, and the load
// beside it where the server tells that with each call.
func sendReceipt(ctx context.Context, r *pb.Receipt) error {
	_ = orca.CallMetricsRecorderFromContext(ctx) // without this grpc tells nothing
	t := trailers.Get().(*trailer)
	defer trailers.Put(t)
	var err error
	if t.data, err = (proto.MarshalOptions{}).MarshalAppend(t.data[:0], r); err != nil {
		return err
	}
	t.md[receiptTrailer][0] = string(t.data)
	return grpc.SetTrailer(ctx, t.md)
}

// trailers are *trailer, one for each receipt on its way: grpc copies what it is given.
var trailers = sync.Pool{New: func() any { return &trailer{md: metadata.MD{receiptTrailer: {""}}} }}

type trailer struct {
	data []byte
	md   metadata.MD // with one value
}

// hostOf is the host of the peer, whichever of its connections it uses: callers
// without a key are told apart by it.
func hostOf(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	if p.Addr.Network() == "bufconn" { // our own gateway, which says for whom it asks
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

// forwardedFor is the last address of X-Forwarded-For: the gateway adds that of
// its peer to whatever the peer sent.
func forwardedFor(ctx context.Context) string {
	all := metadata.ValueFromIncomingContext(ctx, "x-forwarded-for")
	if len(all) == 0 {
		return ""
	}
	last := all[len(all)-1]
	return strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
}
