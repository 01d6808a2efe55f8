package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"paceline/loadgen/plausibility"
	"paceline/loadgen/stats"
)

// Run is one pass of all prompts at one setting.
type Run struct {
	Setting   string `json:"setting"`    // the batch size, "defaults", "unbatched" or "direct"
	Mode      string `json:"mode"`       // fixed, defaults, unbatched or direct
	BatchSize int    `json:"batch_size"` // 0 unless fixed
	Phase     string `json:"phase"`      // cold: the cache was flushed before; warm: after a pass of the same prompts
	Repeat    int    `json:"repeat"`     // from 1; 0: to scout, of loadgen find

	// What a sweep may vary besides the size; for fixed sizes only.
	MaxInFlight    int      `json:"max_in_flight,omitempty"`    // batches at SGLang at once; 0: as in config
	MaxWaitSeconds *float64 `json:"max_wait_seconds,omitempty"` // longest wait for a batch to fill; absent: as in config
	Order          string   `json:"order,omitempty"`            // of release of waiting requests: fifo or prefix

	// Of loadgen find only.
	Rate    float64  `json:"rate,omitempty"`    // conversations begun per second; 0: one caller at a time
	Outcome *Outcome `json:"outcome,omitempty"` // of the objective

	StartedAt time.Time `json:"started_at"` // in virtual time, simulated time after the real start of the sweep

	Total     int            `json:"total"`            // prompts; each question about a state is one
	Completed int            `json:"completed"`        // answers received in full
	Failed    int            `json:"failed"`           // ended with an error; the remaining ones were not sent
	Errors    map[string]int `json:"errors,omitempty"` // failed, by gRPC code
	Complete  bool           `json:"complete"`         // all were answered

	Interrupted bool `json:"interrupted,omitempty"` // stopped midway: its figures are of a part and can't be compared

	WallSeconds          float64 `json:"wall_seconds"`           // from the first send to the last end
	WallClockSeconds     float64 `json:"wall_clock_seconds"`     // the same; in reports of an older loadgen, real seconds
	RequestThroughput    float64 `json:"request_throughput"`     // completed / wall_seconds
	InputTokenThroughput float64 `json:"input_token_throughput"` // prompt_tokens / wall_seconds, including cached ones

	PromptTokens int64 `json:"prompt_tokens"`           // as the server counted, of completed prompts
	CachedTokens int64 `json:"cached_tokens"`           // of these, from its prefix cache; where answers don't tell, by server_uncached_tokens
	OutputTokens int64 `json:"output_tokens,omitempty"` // generated; of streams

	CachedUnknown bool `json:"cached_unknown,omitempty"` // neither answers nor the server tell cached_tokens

	// Answers whose token counts can't be true, in no sum above. A run with one has no figure.
	ImpossibleCounts int    `json:"impossible_counts,omitempty"` // answers
	ImpossibleCause  string `json:"impossible_cause,omitempty"`  // why the first can't be true; absent without one

	Retried int `json:"retried,omitempty"` // answered requests that the proxy sent to SGLang more than once

	Batches            int            `json:"batches"`                   // from the receipts; 0 for direct
	EffectiveBatchSize float64        `json:"effective_batch_size"`      // mean members of a batch, from the receipts; 0 for direct
	ReleaseReasons     map[string]int `json:"release_reasons,omitempty"` // number of batches by release reason

	Latency   stats.Summary `json:"latency_seconds"`    // from send to answer; with 0 or 1 new tokens, both TTFT and E2E latency
	QueueWait stats.Summary `json:"queue_wait_seconds"` // in the proxy; empty for direct

	Arrivals *Arrivals `json:"arrivals,omitempty"` // absent in older reports

	TTFT *stats.Summary `json:"ttft_seconds,omitempty"` // from send to first token; of streams

	ServerUncachedTokens *int64   `json:"server_uncached_tokens,omitempty"` // computed, by the server's own count
	ServerBusySeconds    *float64 `json:"server_busy_seconds,omitempty"`    // spent on that, by its own clock
	ServerForwards       *int64   `json:"server_forwards,omitempty"`        // prefill forwards; absent if unknown
	ServerSequences      *int64   `json:"server_sequences,omitempty"`       // new sequences in them, #new-seq; a chunked prompt is in several

	Cards *Cards `json:"cards,omitempty"` // that computed on this machine; absent if unknown

	ProcessCPUSeconds *float64 `json:"process_cpu_seconds,omitempty"` // real CPU time of loadgen's process with all it embeds, if known

	// SchedulerWait is how late a goroutine of that process was that slept for a millisecond at
	// a time, in real seconds; absent in older reports. If it is long compared with a latency, a
	// slow generator may look like a slow server. See Disturbed.
	SchedulerWait *SchedulerWait `json:"scheduler_wait_seconds,omitempty"`

	Traces []Trace `json:"traces,omitempty"` // sampled requests: the slowest and some that failed

	Notes []string `json:"notes,omitempty"` // what a reader of this run must know
}

// Cards is what nvidia-smi showed of the cards that were used in a run.
type Cards struct {
	Count     int                `json:"count"`               // cards
	Watts     float64            `json:"watts"`               // of all together, mean
	ClockMHz  float64            `json:"clock_mhz"`           // mean
	Used      float64            `json:"used"`                // share of the time in which a card computed something, mean
	Throttled map[string]float64 `json:"throttled,omitempty"` // share of the samples, by reason
}

// Arrivals says how punctual a run's requests were. In a closed loop a first turn is due when a caller
// is free to send it. A later turn is due when the previous one was answered and its pause is over.
type Arrivals struct {
	Dropped      int `json:"dropped"`        // due and not sent, because most_outstanding were under way
	Late         int `json:"late"`           // sent more than late_after_seconds after they were due
	LateByItself int `json:"late_by_itself"` // of these, late even without waiting for most_outstanding: the generator's fault
	WarmUp       int `json:"warm_up"`        // sent in the warm-up, in no figure

	WarmUpSeconds float64 `json:"warm_up_seconds,omitempty"` // from started_at to the start of wall_seconds

	LatencyFromIntended stats.Summary `json:"latency_from_intended_seconds"` // from when due to the answer
	SendDelay           stats.Summary `json:"send_delay_seconds"`            // from when due to the send
	OwnDelay            stats.Summary `json:"own_delay_seconds"`             // of that, the part that was not waiting for most_outstanding
}

const (
	// slowShare is the share of requests that loadgen sent late by itself above which a run is
	// disturbed.
	slowShare = 0.01
	// SlowWait is the share of the median latency, spent waiting for a processor, above which a
	// run is disturbed.
	SlowWait = 0.1
)

// Disturbed reports whether loadgen was kept from its own work: it sent late, or its goroutines ran
// so late that latencies show it.
func (r Run) Disturbed() bool {
	if a := r.Arrivals; a != nil && float64(a.LateByItself) > slowShare*float64(a.SendDelay.Count) {
		return true
	}
	return r.SchedulerWait != nil && r.Latency.Count > 0 && r.SchedulerWait.P99 > SlowWait*r.Latency.P50
}

// SchedulerWait is a distribution in real seconds.
type SchedulerWait struct {
	P50 float64 `json:"p50"` // median
	P99 float64 `json:"p99"` // 99th percentile
	Max float64 `json:"max"` // longest
}

// Trace is one request that was sampled.
type Trace struct {
	ID         string  `json:"id"`              // as Jaeger has it
	Trajectory string  `json:"trajectory"`      // its name
	Seconds    float64 `json:"seconds"`         // from the send to the end
	Cause      string  `json:"cause,omitempty"` // of its failure
}

// MaxTraces is how many slow and how many failed requests of a run keep their trace, and how many of
// each a report shows.
const MaxTraces = 5

// WorthSeeing returns the slowest and the failed traces, at most MaxTraces of each, slowest first.
func WorthSeeing(all []Trace) (kept []Trace) {
	all = slices.SortedStableFunc(slices.Values(all), func(a, b Trace) int { return cmp.Compare(b.Seconds, a.Seconds) })
	count := map[bool]int{}
	for _, t := range all {
		if failed := t.Cause != ""; count[failed] < MaxTraces {
			count[failed]++
			kept = append(kept, t)
		}
	}
	return kept
}

// CachedShare returns the share of prompt tokens that came from the cache, from 0 to 1; NaN if unknown.
func (r Run) CachedShare() float64 {
	if r.CachedUnknown {
		return math.NaN()
	}
	return Share(r.CachedTokens, r.PromptTokens)
}

// Due returns the run's Arrivals; zero in older reports.
func (r Run) Due() Arrivals {
	if r.Arrivals == nil {
		return Arrivals{}
	}
	return *r.Arrivals
}

// Dropped returns how many requests were due but not sent.
func (r Run) Dropped() int { return r.Due().Dropped }

// Impossible says why the run's token counts can't be true; empty if they can.
func (r Run) Impossible() string {
	switch {
	case r.ImpossibleCounts > 0:
		return r.ImpossibleCause
	case r.Completed == 0 || r.PromptTokens > 0 && r.CachedTokens >= 0 && r.CachedTokens <= r.PromptTokens:
		return ""
	}
	return ImpossibleCounts(r.PromptTokens, r.CachedTokens, math.MaxInt64)
}

// maxAdded is how many tokens a server may add to a prompt: to begin and to end it.
const maxAdded = 4

// ImpossibleCounts says why a server's token counts for a prompt of some bytes can't be true; empty if
// they can. A token has at least one byte.
func ImpossibleCounts(prompt, cached, bytes int64) string {
	switch {
	case prompt < 1:
		return fmt.Sprintf("%d prompt tokens", prompt)
	case cached < 0 || cached > prompt:
		return fmt.Sprintf("%d cached of %d prompt tokens", cached, prompt)
	case prompt-maxAdded > bytes:
		return fmt.Sprintf("%d tokens of a prompt of %d bytes", prompt, bytes)
	}
	return ""
}

// Claim returns the run's throughput as a claim to judge; ok is false if nothing was answered or the counts can't be true.
func (r Run) Claim() (c plausibility.Claim, ok bool) {
	return plausibility.Claim{
		Prompts: r.Completed, Seconds: r.WallSeconds, PromptTokens: r.PromptTokens, CachedTokens: r.CachedTokens, Counted: r.PromptTokens > 0,
	}, r.Completed > 0 && r.WallSeconds > 0 && r.Impossible() == ""
}

// Share returns part / whole; 0 for an empty whole.
func Share(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// Place orders settings in tables: sizes first, then defaults, unbatched and direct.
func (r Run) Place() int {
	switch r.Mode {
	case "fixed":
		return r.BatchSize
	case "defaults":
		return math.MaxInt32 - 2
	case "unbatched":
		return math.MaxInt32 - 1
	}
	return math.MaxInt32
}

// Settings lists the settings that were measured, in the order of tables.
func Settings(runs []Run) []string {
	wait := func(r Run) float64 {
		if r.MaxWaitSeconds == nil {
			return 0
		}
		return *r.MaxWaitSeconds
	}
	sorted := slices.SortedStableFunc(slices.Values(runs), func(a, b Run) int {
		return cmp.Or(cmp.Compare(a.Place(), b.Place()), cmp.Compare(a.MaxInFlight, b.MaxInFlight),
			cmp.Compare(wait(a), wait(b)), cmp.Compare(a.Order, b.Order))
	})
	names := []string{}
	for _, r := range sorted {
		if !slices.Contains(names, r.Setting) {
			names = append(names, r.Setting)
		}
	}
	return names
}
