package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/orca"
	"google.golang.org/protobuf/proto"

	"paceline/batcher"
	pb "paceline/proto/paceline/v1"
)

// receiptTrailer carries a Receipt message. grpc-go encodes what ends in -bin.
const receiptTrailer = "paceline-receipt-bin"

// receipts writes receipts. Its prefix tells the batches of this process from
// those of the one before, where both appear in one trace store.
type receipts struct{ prefix string }

func newReceipts() receipts {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails: see crypto/rand
	return receipts{hex.EncodeToString(b[:])}
}

func (r receipts) batchID(id uint64) string { return r.prefix + "-" + strconv.FormatUint(id, 10) }

func (r receipts) write(b batcher.Receipt, a *answer) *pb.Receipt {
	out := &pb.Receipt{
		BatchId:          r.batchID(b.BatchID),
		BatchSize:        uint32(b.Size),
		Position:         uint32(b.Position),
		ReleaseReason:    releaseReason(b.Reason),
		QueueWaitSeconds: b.QueueWait.Seconds(),
		UpstreamSeconds:  a.upstream.Seconds(),
		Attempts:         uint32(a.attempts),
		MergedRequests:   uint32(b.Merged),

		PredictedUncachedTokens: uint32(max(0, b.PredictedUncached)),
	}
	if b.Predicted > 0 {
		seconds := b.Predicted.Seconds()
		out.PredictedSeconds = &seconds
	}
	return out
}

// sendReceipt puts a receipt into the trailers of the call of ctx, and the load
// beside it where that is asked for (Config.CallLoadReports).
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

func releaseReason(r batcher.Reason) pb.ReleaseReason {
	switch r {
	case batcher.ReasonFull:
		return pb.ReleaseReason_RELEASE_REASON_FULL
	case batcher.ReasonBudget:
		return pb.ReleaseReason_RELEASE_REASON_BUDGET
	case batcher.ReasonWait:
		return pb.ReleaseReason_RELEASE_REASON_WAIT
	case batcher.ReasonDeadline:
		return pb.ReleaseReason_RELEASE_REASON_DEADLINE
	case batcher.ReasonIdle:
		return pb.ReleaseReason_RELEASE_REASON_IDLE
	case batcher.ReasonDrain:
		return pb.ReleaseReason_RELEASE_REASON_DRAIN
	case batcher.ReasonUnbatched:
		return pb.ReleaseReason_RELEASE_REASON_UNBATCHED
	}
	return pb.ReleaseReason_RELEASE_REASON_UNSPECIFIED
}
