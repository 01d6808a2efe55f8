package report

import (
	"time"

	"paceline/loadgen/stats"
)

// Run is one pass of all prompts at one setting.
type Run struct {
	Setting   string `json:"setting"`    // the batch size, "auto", "unbatched" or "direct"
	Mode      string `json:"mode"`       // fixed, auto, unbatched or direct
	BatchSize int    `json:"batch_size"` // 0 unless fixed
	Phase     string `json:"phase"`      // cold: the cache was flushed before; warm: after a pass of the same prompts
	Repeat    int    `json:"repeat"`     // from 1

	// The dimensions that a sweep may vary beside the size; of fixed sizes only.
	MaxInFlight    int      `json:"max_in_flight,omitempty"`    // batches at SGLang at once; 0: as in config
	MaxWaitSeconds *float64 `json:"max_wait_seconds,omitempty"` // longest wait for a batch to fill; absent: as in config
	Order          string   `json:"order,omitempty"`            // in which waiting requests are released: fifo or prefix

	StartedAt time.Time `json:"started_at"` // real time

	Total     int            `json:"total"`            // prompts
	Completed int            `json:"completed"`        // answers received in full
	Failed    int            `json:"failed"`           // ended with an error; the rest was not sent
	Errors    map[string]int `json:"errors,omitempty"` // failed, by gRPC code
	Complete  bool           `json:"complete"`         // all were answered

	Interrupted bool `json:"interrupted,omitempty"` // stopped midway: its figures are of a part and compare with nothing

	WallSeconds          float64 `json:"wall_seconds"`           // from the first send to the last end
	WallClockSeconds     float64 `json:"wall_clock_seconds"`     // the same in real seconds; from wall_seconds and the speed if 0
	RequestThroughput    float64 `json:"request_throughput"`     // completed / wall_seconds
	InputTokenThroughput float64 `json:"input_token_throughput"` // prompt_tokens / wall_seconds, cached ones too

	PromptTokens int64 `json:"prompt_tokens"` // as the server counted, of completed prompts
	CachedTokens int64 `json:"cached_tokens"` // of these, from its prefix cache

	Batches            int            `json:"batches"`                   // by the receipts; 0 for direct
	EffectiveBatchSize float64        `json:"effective_batch_size"`      // members a batch, by the receipts; 0 for direct
	ReleaseReasons     map[string]int `json:"release_reasons,omitempty"` // batches, by why they were released

	Latency   stats.Summary `json:"latency_seconds"`    // from send to answer: TTFT and E2E latency in one, at 0 or 1 new tokens
	QueueWait stats.Summary `json:"queue_wait_seconds"` // in the proxy; empty for direct

	Arrivals *Arrivals `json:"arrivals,omitempty"` // absent in reports of before it was told
	// The same, counted in histograms that merge exactly; absent in reports of before they were told.
	LatencyHistogram   *stats.Histogram `json:"latency_histogram,omitempty"`
	QueueWaitHistogram *stats.Histogram `json:"queue_wait_histogram,omitempty"`

	ServerUncachedTokens *int64   `json:"server_uncached_tokens,omitempty"` // computed, by the server's own count
	ServerBusySeconds    *float64 `json:"server_busy_seconds,omitempty"`    // spent on that, by its own clock
	ServerForwards       *int64   `json:"server_forwards,omitempty"`        // prefill forwards, where the server tells
	ServerSequences      *int64   `json:"server_sequences,omitempty"`       // new sequences in them, its #new-seq; a prompt that is cut in chunks counts in each

	ProcessCPUSeconds *float64 `json:"process_cpu_seconds,omitempty"` // real CPU time of loadgen's process, with all it embeds, where measured

	// SchedulerWait is how long goroutines of that process waited for a processor, in real
	// seconds; absent where not told. Where it is long beside a latency, a slow generator
	// may look like a slow server.
	SchedulerWait *SchedulerWait `json:"scheduler_wait_seconds,omitempty"`

	Traces []Trace `json:"traces,omitempty"` // of sampled requests: the slowest and some that failed

	Notes []string `json:"notes,omitempty"` // what a reader of this run's figures must know
}

// CachedShare is the share of the prompt tokens that came from the cache, from
// 0 to 1.
func (r Run) CachedShare() float64 { return share(r.CachedTokens, r.PromptTokens) }

// answeredShare is the part of its requests that were answered, from 0 to 1.
func (r Run) answeredShare() float64 { return share(int64(r.Completed), int64(r.Total)) }

// endedAll says whether every prompt was sent and ended, with an answer or an
// error, or was dropped.
func (r Run) endedAll() bool { return r.Completed+r.Failed+r.Dropped() >= r.Total }

// busyShare is the share of the run in which the server computed; ok is false
// where it does not tell.
func (r Run) busyShare() (busy float64, ok bool) {
	if r.ServerBusySeconds == nil || *r.ServerBusySeconds < 0 || r.WallSeconds <= 0 {
		return 0, false
	}
	return *r.ServerBusySeconds / r.WallSeconds, true
}

// serverBatchSize is how many new sequences SGLang computed in one forward, by its own
// count; ok is false where it does not tell.
func (r Run) serverBatchSize() (size float64, ok bool) {
	if r.ServerForwards == nil || r.ServerSequences == nil || *r.ServerForwards <= 0 {
		return 0, false
	}
	return float64(*r.ServerSequences) / float64(*r.ServerForwards), true
}

func share(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// pooledShare is the cached share over several runs.
func pooledShare(runs []Run) float64 {
	var cached, prompt int64
	for _, r := range runs {
		cached, prompt = cached+r.CachedTokens, prompt+r.PromptTokens
	}
	return share(cached, prompt)
}
