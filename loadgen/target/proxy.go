package target

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "paceline/proto/paceline/v1"
)

const maxMessageBytes = 64 << 20 // the proxy's own limit

// Proxy sends prompts through a Paceline proxy and controls it.
type Proxy struct {
	data, admin  *grpc.ClientConn
	prefill      pb.PrefillServiceClient
	control      pb.AdminServiceClient
	MaxNewTokens uint32  // of every prompt: 0 or 1
	Tracer       *Tracer // nil: no spans

	// Tokenize, if not nil, turns each text into the token ids that are sent instead of it.
	Tokenize func(text string) []int32
}

// DialProxy returns a Proxy for the data and admin addresses (host:port) of a proxy. An admin address
// that begins with http:// is reached without TLS, whatever access says, because a proxy's admin
// listener on loopback has none. DialProxy sends nothing.
func DialProxy(addr, adminAddr string, access Access) (*Proxy, error) {
	data, err := dial(addr, access, false)
	if err != nil {
		return nil, fmt.Errorf("proxy address %q: %w", addr, err)
	}
	host, plain := strings.CutPrefix(adminAddr, "http://")
	admin, err := dial(host, access, plain)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("proxy admin address %q: %w", adminAddr, err), data.Close())
	}
	return &Proxy{data: data, admin: admin, prefill: pb.NewPrefillServiceClient(data), control: pb.NewAdminServiceClient(admin)}, nil
}

func dial(addr string, access Access, plain bool) (*grpc.ClientConn, error) {
	opts, err := access.options(plain)
	if err != nil {
		return nil, err
	}
	return grpc.NewClient(addr, append(opts,
		grpc.WithDisableRetry(), // a retry would hide a failure and time two sends as one
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes), grpc.MaxCallSendMsgSize(maxMessageBytes)),
	)...)
}

// Close closes the connections.
func (p *Proxy) Close() error { return errors.Join(p.data.Close(), p.admin.Close()) }

// Send implements Sender.
func (p *Proxy) Send(ctx context.Context, prompt Prompt) (Answer, error) {
	ctx, end := p.Tracer.begin(ctx, strings.TrimPrefix(pb.PrefillService_Prefill_FullMethodName, "/"), prompt)
	request := &pb.PrefillRequest{Text: prompt.Full(), MaxNewTokens: p.MaxNewTokens}
	if p.Tokenize != nil {
		request.TokenIds, request.Text = p.Tokenize(request.Text), ""
	}
	reply, err := p.prefill.Prefill(p.Tracer.outgoing(ctx), request)
	if err != nil {
		return Answer{TraceID: end(Cause(err))}, err
	}
	r := reply.GetReceipt()
	return Answer{
		PromptTokens:  int(reply.GetPromptTokens()),
		CachedTokens:  int(reply.GetCachedTokens()),
		BatchID:       r.GetBatchId(),
		BatchSize:     int(r.GetBatchSize()),
		ReleaseReason: strings.ToLower(strings.TrimPrefix(r.GetReleaseReason().String(), "RELEASE_REASON_")),
		QueueWait:     time.Duration(r.GetQueueWaitSeconds() * float64(time.Second)),
		Attempts:      int(r.GetAttempts()),
		TraceID:       end(""),
	}, nil
}

// Settings are the proxy settings that a sweep applies before a run.
type Settings struct {
	Mode        pb.BatchMode  `json:"mode"`
	BatchSize   int           `json:"batch_size"` // 0: unchanged
	MaxInFlight int           `json:"max_in_flight"`
	MaxWait     time.Duration `json:"max_wait_nanoseconds"`

	// Zero in a sweep: a budget would cut batches below the size under test, and a merged prompt
	// would count once for each of its copies.
	BatchTokens      uint64   `json:"batch_tokens"`
	BatchBytes       uint64   `json:"batch_bytes"`
	ForwardsInFlight uint32   `json:"forwards_in_flight"` // for the defaults
	MergeIdentical   bool     `json:"merge_identical"`
	Share            pb.Share `json:"share"` // for the defaults, and where the sweep varies it
}

// Apply changes the proxy's settings.
func (p *Proxy) Apply(ctx context.Context, s Settings) error {
	want := &pb.Settings{
		Mode:        s.Mode,
		BatchSize:   uint32(s.BatchSize),
		MaxWait:     durationpb.New(s.MaxWait),
		MaxInFlight: uint32(s.MaxInFlight),
		BatchTokens: s.BatchTokens, BatchBytes: s.BatchBytes, ForwardsInFlight: s.ForwardsInFlight,
		MergeIdentical: s.MergeIdentical, Share: s.Share,
	}
	mask := []string{"mode", "max_wait", "max_in_flight", "batch_tokens", "batch_bytes", "forwards_in_flight", "merge_identical", "share"}
	if s.BatchSize > 0 {
		mask = append(mask, "batch_size")
	}
	_, err := p.control.UpdateSettings(ctx, &pb.UpdateSettingsRequest{
		Settings: want, UpdateMask: &fieldmaskpb.FieldMask{Paths: mask},
	})
	if err != nil {
		return fmt.Errorf("set the proxy's batching settings: %w", err)
	}
	return nil
}

// CurrentSettings returns the proxy's settings, so that a sweep can restore them.
func (p *Proxy) CurrentSettings(ctx context.Context) (Settings, error) {
	reply, err := p.control.GetSettings(ctx, &pb.GetSettingsRequest{})
	if err != nil {
		return Settings{}, fmt.Errorf("read the proxy's batching settings: %w", err)
	}
	s := reply.GetSettings()
	return Settings{
		Mode:        s.GetMode(),
		BatchSize:   int(s.GetBatchSize()),
		MaxInFlight: int(s.GetMaxInFlight()),
		MaxWait:     s.GetMaxWait().AsDuration(),
		BatchTokens: s.GetBatchTokens(), BatchBytes: s.GetBatchBytes(), ForwardsInFlight: s.GetForwardsInFlight(),
		MergeIdentical: s.GetMergeIdentical(), Share: s.GetShare(),
	}, nil
}

// Flush empties SGLang's prefix cache through the proxy. It waits up to timeout for running
// work to end.
func (p *Proxy) Flush(ctx context.Context, timeout time.Duration) error {
	_, err := p.control.FlushCache(ctx, &pb.FlushCacheRequest{Timeout: durationpb.New(timeout)})
	if err != nil {
		return fmt.Errorf("flush SGLang's cache through the proxy: %w", err)
	}
	return nil
}

// Status returns the proxy's status.
func (p *Proxy) Status(ctx context.Context) (*pb.GetStatusResponse, error) {
	return p.control.GetStatus(ctx, &pb.GetStatusRequest{})
}
