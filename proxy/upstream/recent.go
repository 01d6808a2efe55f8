package upstream

import (
	"slices"
	"sync"
	"time"

	"paceline/batcher"
)

// maxRecent is how many ended batches are remembered for the status.
const maxRecent = 64

// BatchFacts is what a batch came to.
type BatchFacts struct {
	ID                         uint64
	Reason                     batcher.Reason
	Size, Answered             int
	Calls                      int           // to SGLang
	Took                       time.Duration // from the release
	Predicted                  time.Duration // 0: unknown
	PromptTokens, CachedTokens int
	Ended                      time.Time
}

// recentBatches remembers the batches that ended last. The zero value is ready; it
// is safe for concurrent use.
type recentBatches struct {
	mu  sync.Mutex
	all []*BatchFacts // the latest last; guarded by mu
}

func (r *recentBatches) add(f *BatchFacts, now time.Time) {
	f.Ended = now
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

// BatchID is the id of a batch on receipts and in traces.
func (u *Upstream) BatchID(id uint64) string { return u.receipts.batchID(id) }
