package server

import (
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "paceline/proto/paceline/v1"
)

// mostRecent is how many ended batches each dispatcher remembers for the status.
const mostRecent = 64

// recentBatches remembers the batches that ended last. The zero value is ready; it
// is safe for concurrent use.
type recentBatches struct {
	mu   sync.Mutex
	ring [mostRecent]pastBatch
	next int
}

// pastBatch is a batch that has ended.
type pastBatch struct {
	*batchFacts
	ended time.Time // zero: no batch
}

// batchFacts is what is told of a batch.
type batchFacts struct {
	id             uint64
	reason         pb.ReleaseReason
	size, answered int
	calls          int
	took           time.Duration // from the release
	predicted      time.Duration // 0: unknown
	prompt, cached int           // tokens
}

func (r *recentBatches) add(f *batchFacts, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring[r.next] = pastBatch{f, now}
	r.next = (r.next + 1) % mostRecent
}

// all are the remembered batches.
func (r *recentBatches) all() []pastBatch {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.ring[:]), func(p pastBatch) bool { return p.ended.IsZero() })
}

// recent are the last batches of all SGLangs, the latest first.
func (a *adminService) recent() []*pb.RecentBatch {
	type at struct {
		pastBatch
		from *backend
	}
	var all []at
	for _, b := range a.pool.all() {
		for _, p := range b.dispatcher.recent.all() {
			all = append(all, at{p, b})
		}
	}
	slices.SortStableFunc(all, func(x, y at) int { return y.ended.Compare(x.ended) })
	out := make([]*pb.RecentBatch, len(all))
	for i, p := range all {
		out[i] = &pb.RecentBatch{
			BatchId:       p.from.receipts.batchID(p.id),
			EndTime:       timestamppb.New(p.ended),
			ReleaseReason: p.reason,
			Size:          uint32(p.size),
			Unanswered:    uint32(p.size - p.answered),
			Seconds:       p.took.Seconds(),
			PromptTokens:  uint64(p.prompt),
			CachedTokens:  uint64(p.cached),
			Calls:         uint32(p.calls),
			Upstream:      p.from.client.URL(),
		}
		if p.predicted > 0 {
			seconds := p.predicted.Seconds()
			out[i].PredictedSeconds = &seconds
		}
	}
	return out
}
