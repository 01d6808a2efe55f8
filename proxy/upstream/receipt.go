package upstream

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strconv"
	"sync"
	"time"

	"paceline/batcher"
	pb "paceline/proto/paceline/v1"
)

// newProcessID returns random letters that distinguish the batches of this process from those
// of an earlier one in the same trace store.
func newProcessID() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails: see crypto/rand
	return hex.EncodeToString(b[:])
}

// BatchID returns the id of a batch on receipts and in traces.
func (u *Upstream) BatchID(id uint64) string { return u.process + "-" + strconv.FormatUint(id, 10) }

func (u *Upstream) receipt(b batcher.Receipt, a *Answer) *pb.Receipt {
	out := &pb.Receipt{
		BatchId:          u.BatchID(b.BatchID),
		BatchSize:        uint32(b.Size),
		Position:         uint32(b.Position),
		ReleaseReason:    ReleaseReason(b.Reason),
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

// ReleaseReason converts a reason to that of the contract, which has the same number.
func ReleaseReason(r batcher.Reason) pb.ReleaseReason { return pb.ReleaseReason(r) }

// maxRecent is the max number of ended batches that are kept for the status.
const maxRecent = 64

// BatchFacts describes a batch that has ended.
type BatchFacts struct {
	batcher.Release

	Answered                   int           // members
	Calls                      int           // to SGLang
	Took                       time.Duration // from the release
	PromptTokens, CachedTokens int
}

// recentBatches keeps the batches that ended last. The zero value is ready to use. It is
// safe for concurrent use.
type recentBatches struct {
	mu  sync.Mutex
	all []*BatchFacts // the latest last; guarded by mu
}

func (r *recentBatches) add(f *BatchFacts) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.all) == maxRecent {
		r.all = slices.Delete(r.all, 0, 1)
	}
	r.all = append(r.all, f)
}

// Recent returns the batches that ended last, the latest first.
func (u *Upstream) Recent() []*BatchFacts {
	u.recent.mu.Lock()
	defer u.recent.mu.Unlock()
	all := slices.Clone(u.recent.all)
	slices.Reverse(all)
	return all
}
