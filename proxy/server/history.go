package server

import (
	"context"
	"sync"
	"time"

	"paceline/proxy/telemetry"
)

// What the admin page remembers.
const (
	historyStep   = 5 * time.Second // a scrape takes a millisecond
	historyLength = 180             // steps: 15 minutes
)

// history holds samples of the last 15 minutes, for the admin page. It is safe for
// concurrent use.
type history struct {
	read func() (t telemetry.Totals, waiting int)

	mu      sync.Mutex
	samples []sample // the oldest first; guarded by mu
}

type sample struct {
	at      time.Time
	totals  telemetry.Totals
	waiting int
}

// point is what the page draws of the time between two samples.
type point struct {
	At       int64             `json:"at"`  // unix time of its end, seconds
	Requests float64           `json:"rps"` // requests that ended, per second
	P50      *float64          `json:"p50"` // of their durations, seconds; nil if none ended
	P99      *float64          `json:"p99"`
	Waiting  int               `json:"waiting"`
	Saved    float64           `json:"saved"`  // tokens per second that followers did not compute
	Cached   *float64          `json:"cached"` // cached prompt tokens / prompt tokens; nil without prompts
	Errors   map[string]uint64 `json:"errors"` // in the step, by status; without those that are 0
}

// run takes samples until ctx ends.
func (h *history) run(ctx context.Context) {
	ticker := time.NewTicker(historyStep)
	defer ticker.Stop()
	for {
		totals, waiting := h.read()
		h.add(sample{time.Now(), totals, waiting})
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (h *history) add(s sample) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.samples = append(h.samples[max(0, len(h.samples)-historyLength):], s)
}

// points returns a point for each step, the oldest first, and the sizes of the batches in
// all of them.
func (h *history) points() (points []point, sizes telemetry.Buckets) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := 1; i < len(h.samples); i++ {
		points = append(points, pointOf(h.samples[i-1], h.samples[i]))
	}
	if n := len(h.samples); n > 0 {
		sizes = h.samples[n-1].totals.Sizes.Since(h.samples[0].totals.Sizes)
	}
	return points, sizes
}

func pointOf(from, to sample) point {
	seconds := to.at.Sub(from.at).Seconds()
	durations := to.totals.Durations.Since(from.totals.Durations)
	p := point{
		At: to.at.Unix(), Requests: float64(durations.Count) / seconds, Waiting: to.waiting,
		Saved: (to.totals.SharedTokens - from.totals.SharedTokens) / seconds, Errors: map[string]uint64{},
	}
	if durations.Count > 0 {
		p50, p99 := durations.Quantile(.5), durations.Quantile(.99)
		p.P50, p.P99 = &p50, &p99
	}
	if prompt := to.totals.PromptTokens - from.totals.PromptTokens; prompt > 0 {
		cached := (to.totals.CachedTokens - from.totals.CachedTokens) / prompt
		p.Cached = &cached
	}
	for kind, n := range to.totals.Errors {
		if n -= from.totals.Errors[kind]; n > 0 {
			p.Errors[kind] = n
		}
	}
	return p
}
