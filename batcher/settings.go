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
	// ModeUnbatched sends each request alone and at once, with no limit on batches in
	// flight. It is the baseline for measuring batching.
	ModeUnbatched

	numModes
)

var modeNames = [numModes]string{"fixed", "unbatched"}

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
	return 0, &SettingError{"mode", fmt.Sprintf("must be fixed or unbatched, got %q", name)}
}

// Share says which requests share what is new to the server: of those that begin alike one
// goes first, and the others once the server has read it.
type Share uint8

const (
	// ShareAll holds the requests of Submit, released in depth-first order of their
	// prefixes, and those of Admit.
	ShareAll Share = iota
	// SharePrefill holds those of Submit only.
	SharePrefill
	// ShareOff holds nothing: requests go in order of arrival.
	ShareOff

	numShares
)

var shareNames = [numShares]string{"all", "prefill", "off"}

// String returns the name in flags.
func (s Share) String() string {
	if s < numShares {
		return shareNames[s]
	}
	return fmt.Sprintf("Share(%d)", uint8(s))
}

// ShareNamed is the inverse of String.
func ShareNamed(name string) (Share, error) {
	if s := slices.Index(shareNames[:], name); s >= 0 {
		return Share(s), nil
	}
	return 0, &SettingError{"share", fmt.Sprintf("must be all, prefill or off, got %q", name)}
}

// Settings are the batching settings. All can be changed while requests wait.
type Settings struct {
	Mode Mode

	// BatchSize is the max number of prompts in a batch.
	BatchSize int

	// BatchTokens is the max prompt tokens in a batch, BatchBytes the max prompt
	// bytes; 0 sets no bound. A prompt that exceeds a bound goes alone.
	BatchTokens int64
	BatchBytes  int64

	// ForwardsInFlight is the max forwards (Server.ForwardTokens each) that the uncached
	// tokens of all batches in flight are expected to fill. What waits behind them can
	// still be put in order. A prompt that exceeds it goes alone. 0 sets no bound. Nor is
	// there one while Server.ForwardTokens is unknown.
	ForwardsInFlight int

	// MaxWait is the max time that the oldest request waits for its batch to fill. 0
	// releases the queued requests as soon as a slot is free.
	MaxWait time.Duration

	// MaxInFlight is the max number of batches in flight at once.
	MaxInFlight int

	// Share says which requests that share a new prefix wait until one of them has had it
	// read.
	Share Share

	// PrefixBlocks is the max blocks (prefix.BlockBytes each) that are remembered as
	// cached. The capacity of the server's cache bounds them too.
	PrefixBlocks int

	// MaxAge bounds the delay by the order (prefixes, priority, fairness): once a
	// prompt has waited this long, every fourth prompt released is the oldest. So no
	// prompt waits longer than max(MaxAge, MaxWait) and then for four times the
	// prompts before it.
	MaxAge time.Duration

	// MergeIdentical sends waiting items of equal MergeKey as one prompt.
	MergeIdentical bool

	// QueueRequests is the max number of items waiting. Submit refuses more.
	QueueRequests int

	// QueueBytes is the max prompt bytes waiting. Submit refuses more.
	QueueBytes int64

	// Retries is the max number of times that a call is repeated because the server
	// failed it. A tenth of all calls may be repeats.
	Retries int

	// BreakerFailures is the number of failed calls in a row after which the breaker
	// opens. Then nothing is sent for a second or more, and new items are refused.
	BreakerFailures int
}

// Bounds of the settings. They keep a typing error from becoming an outage. They are no
// tuning advice.
const (
	MaxBatchSize     = 4096        // links of one batch trace and elements of one list stay printable
	MaxInFlightLimit = 4096        // each holds a connection to the server
	MaxWaitLimit     = time.Minute // far longer than any wait that could pay

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
		Mode:             ModeFixed,
		BatchSize:        16,                     // the largest size of the benchmark of record
		BatchTokens:      0,                      // ForwardsInFlight follows the server, a fixed number of tokens does not
		BatchBytes:       0,                      // for the same reason
		ForwardsInFlight: 8,                      // 1.5 s of an H100's work for a 7B model: the rest can still be ordered
		MaxWait:          200 * time.Microsecond, // the prompts of one list come within this, and no caller notices it
		MaxInFlight:      8,                      // as many as SGLang's tokenizer processes; 2 leave its front end idle
		Share:            ShareAll,               // prompts that share nothing keep the order of arrival
		PrefixBlocks:     1 << 17,                // 8 million tokens, beyond most KV caches; some 16 MB
		MaxAge:           30 * time.Second,       // half of what impatient clients wait
		MergeIdentical:   true,                   // always saves a whole prompt
		QueueRequests:    10_000,                 // minutes of work: more would only miss its deadlines
		QueueBytes:       256 << 20,              // 10,000 prompts of 26 KiB
		Retries:          2,                      // a failure that lasts through two repeats is no hiccup
		BreakerFailures:  5,                      // more than a restart of one worker shows
	}
}

// SettingError names a setting that is out of range.
type SettingError struct {
	Field   string // name of the setting, as in the contract: batch_size
	Problem string // the expected and the given value
}

// Error implements error.
func (e *SettingError) Error() string { return e.Field + ": " + e.Problem }

// Validate returns a *SettingError for the first setting out of range, or nil.
func (s Settings) Validate() error {
	if s.Mode >= numModes {
		return &SettingError{"mode", fmt.Sprintf("must be fixed or unbatched, got %v", s.Mode)}
	}
	if s.Share >= numShares {
		return &SettingError{"share", fmt.Sprintf("must be all, prefill or off, got %v", s.Share)}
	}
	return cmp.Or(
		within("batch_size", s.BatchSize, 1, MaxBatchSize),
		within("batch_tokens", s.BatchTokens, 0, unbounded),
		within("batch_bytes", s.BatchBytes, 0, unbounded),
		within("forwards_in_flight", s.ForwardsInFlight, 0, maxForwards),
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
