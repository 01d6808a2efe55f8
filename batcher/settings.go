package batcher

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// Mode is how requests become batches.
type Mode uint8

const (
	// ModeFixed collects up to BatchSize requests.
	ModeFixed Mode = iota
	// ModeUnbatched sends each request alone and at once: no waiting, no cap on
	// batches in flight. It is the baseline that batching is measured against.
	ModeUnbatched
	// ModeAuto chooses size and wait from what it learns of the server, and keeps
	// two batches in flight; BatchSize, MaxWait and MaxInFlight have no effect.
	ModeAuto

	numModes
)

var modeNames = [numModes]string{"fixed", "unbatched", "auto"}

// String returns the mode's name in flags and reports.
func (m Mode) String() string {
	if m < numModes {
		return modeNames[m]
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// ModeNamed is the inverse of String.
func ModeNamed(name string) (Mode, error) {
	if m := slices.Index(modeNames[:], name); m >= 0 {
		return Mode(m), nil
	}
	return 0, &SettingError{"mode", fmt.Sprintf("must be fixed, unbatched or auto, got %q", name)}
}

// Settings are the batching settings. All can be changed while requests wait.
type Settings struct {
	Mode Mode

	// BatchSize is the max number of prompts in a batch.
	BatchSize int

	// BatchTokens is the max prompt tokens in a batch, BatchBytes the max prompt
	// bytes; 0 sets no bound. A prompt that is above a bound goes alone.
	BatchTokens int64
	BatchBytes  int64

	// BatchForwards is the max forwards (Server.ForwardTokens each) that the
	// uncached tokens of a batch are expected to fill; 0 sets no bound, as does a
	// server whose forwards are not known.
	BatchForwards int

	// MaxWait is the longest time the oldest request waits for its batch to
	// fill. At 0 whatever is queued is released as soon as a slot is free.
	MaxWait time.Duration

	// MaxInFlight is the max number of batches in flight at once.
	MaxInFlight int

	// PrefixOrder releases requests in depth-first order of their prefixes, and
	// of those that share a new prefix one first, the others after its answer.
	PrefixOrder bool

	// PrefixBlocks is the max blocks (prefix.BlockBytes each) of prompts that are
	// remembered as cached; also bounded by what the server's cache holds.
	PrefixBlocks int

	// MaxAge bounds what order (prefixes, priority, fairness) costs: once a prompt
	// has waited so long, every fourth is the one that came first. So nobody waits
	// longer than max(MaxAge, MaxWait) plus four times the prompts before it.
	MaxAge time.Duration

	// MergeIdentical sends waiting items of equal MergeKey as one prompt.
	MergeIdentical bool

	// QueueRequests is the max number of items waiting; beyond it Submit refuses.
	QueueRequests int

	// QueueBytes is the max prompt bytes waiting; beyond it Submit refuses.
	QueueBytes int64

	// Retries is the max number of times that a call the server failed is repeated;
	// a tenth of all calls may be repeats.
	Retries int

	// BreakerFailures is how many calls in a row the server fails before the breaker
	// opens: nothing is sent then for a second or more, and new items are refused.
	BreakerFailures int
}

// Bounds of the settings. They keep a slip of the finger from becoming an outage;
// none of them is tuning advice.
const (
	MaxBatchSize     = 4096        // links of one batch trace and elements of one list stay printable
	MaxInFlightLimit = 4096        // each holds a connection to the server
	MaxWaitLimit     = time.Minute // far beyond any window that could pay

	maxForwards     = 1000    // minutes of a server's time
	maxPrefixBlocks = 1 << 24 // 1 billion tokens; some 2 GB
	maxAge          = time.Hour
	maxRetries      = 10
	maxFailures     = 1000
	unbounded       = math.MaxInt64
)

// DefaultSettings returns the defaults.
func DefaultSettings() Settings {
	return Settings{
		Mode:            ModeFixed,
		BatchSize:       16,                   // the largest size of the benchmark of record
		BatchTokens:     0,                    // BatchForwards follows the server, a number of tokens would not
		BatchBytes:      0,                    // as BatchTokens
		BatchForwards:   8,                    // enough to fill them, and little to wait for; one would cap long prompts at two a batch
		MaxWait:         5 * time.Millisecond, // below one forward of any model worth serving
		MaxInFlight:     2,                    // one is computed while the next is parsed
		PrefixOrder:     true,                 // where nothing is shared the order stays that of arrival
		PrefixBlocks:    1 << 17,              // 8 million tokens, beyond most KV caches; some 16 MB
		MaxAge:          30 * time.Second,     // half of what impatient clients wait
		MergeIdentical:  true,                 // it saves a whole prompt, always
		QueueRequests:   10_000,               // minutes of work: more would only miss its deadlines
		QueueBytes:      256 << 20,            // 10,000 prompts of 26 KiB
		Retries:         2,                    // what two repeats don't cure is no hiccup
		BreakerFailures: 5,                    // more than a restart of one worker shows
	}
}

// SettingError names a setting that is out of range.
type SettingError struct {
	Field   string // name of the setting, as in the contract: batch_size
	Problem string // what was expected and what came
}

// Error implements error.
func (e *SettingError) Error() string { return e.Field + ": " + e.Problem }

// Validate returns a *SettingError for the first setting out of range, or nil.
func (s Settings) Validate() error {
	if s.Mode >= numModes {
		return &SettingError{"mode", fmt.Sprintf("must be fixed, unbatched or auto, got %v", s.Mode)}
	}
	return cmp.Or(
		within("batch_size", s.BatchSize, 1, MaxBatchSize),
		within("batch_tokens", s.BatchTokens, 0, unbounded),
		within("batch_bytes", s.BatchBytes, 0, unbounded),
		within("batch_forwards", s.BatchForwards, 0, maxForwards),
		within("max_wait", s.MaxWait, 0, MaxWaitLimit),
		within("max_in_flight", s.MaxInFlight, 1, MaxInFlightLimit),
		within("prefix_blocks", s.PrefixBlocks, 1, maxPrefixBlocks),
		within("max_age", s.MaxAge, 0, maxAge),
		within("queue_requests", s.QueueRequests, 1, unbounded),
		within("queue_bytes", s.QueueBytes, 1, unbounded),
		within("retries", s.Retries, 0, maxRetries),
		within("breaker_failures", s.BreakerFailures, 1, maxFailures),
	)
}

func within[T int | int64 | time.Duration](field string, got, low, high T) error {
	switch {
	case got < low && high == unbounded:
		return &SettingError{field, fmt.Sprintf("must be at least %v, got %v", low, got)}
	case got < low || got > high:
		return &SettingError{field, fmt.Sprintf("must be from %v to %v, got %v", low, high, got)}
	}
	return nil
}
