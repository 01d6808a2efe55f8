package batcher

import (
	"fmt"
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
	// ModeAuto chooses size, wait and batches in flight from what it learns of
	// the server; BatchSize, MaxWait and MaxInFlight have no effect.
	ModeAuto

	numModes
)

var modeNames = [numModes]string{"fixed", "unbatched", "auto"}

// String is the mode's name in flags and reports.
func (m Mode) String() string {
	if m < numModes {
		return modeNames[m]
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// ModeNamed is the inverse of String.
func ModeNamed(name string) (Mode, error) {
	for m, n := range modeNames {
		if n == name {
			return Mode(m), nil
		}
	}
	return 0, &SettingError{"mode", fmt.Sprintf("must be fixed, unbatched or auto, got %q", name)}
}

// Settings are the batching settings. All can be changed while requests wait.
type Settings struct {
	Mode Mode

	// BatchSize is the most requests in a batch.
	BatchSize int

	// BatchTokens is the most prompt tokens in a batch, and BatchBytes the most
	// prompt bytes; 0 sets no bound. A request above one alone goes alone.
	BatchTokens int64
	BatchBytes  int64

	// BatchForwards is the most forwards (Server.ForwardTokens each) that the
	// tokens of a batch which are not cached may be expected to fill; 0 sets no
	// bound, as does a server whose forwards are not known.
	BatchForwards int

	// MaxWait is the longest time the oldest request waits for its batch to
	// fill. At 0 whatever is queued is released as soon as a slot is free.
	MaxWait time.Duration

	// MaxInFlight is the most batches dispatched at once.
	MaxInFlight int

	// PrefixOrder releases requests in depth-first order of their prefixes, and
	// of those that share a new prefix one first, the others after its answer.
	PrefixOrder bool

	// PrefixBlocks is the most blocks (BlockBytes each) of prompts that are
	// remembered as cached; also bounded by what SGLang's cache holds.
	PrefixBlocks int

	// MaxAge bounds what order costs (prefixes, priority, fairness): once a
	// request has waited so long, every fourth prompt is the one that came first.
	// So nobody waits longer than MaxAge (or MaxWait, if that is longer) and then
	// for four times the prompts that were before it.
	MaxAge time.Duration

	// MergeIdentical sends requests of one Identity that wait together as one
	// prompt.
	MergeIdentical bool

	// QueueRequests is the most requests waiting; beyond it Submit refuses.
	QueueRequests int

	// QueueBytes is the most prompt bytes waiting; beyond it Submit refuses.
	QueueBytes int64

	// Retries is how often a call that the server failed is repeated at most; a
	// tenth of all calls may be repeats.
	Retries int

	// BreakerFailures is how many calls in a row the server must fail for the
	// breaker to open: nothing is sent then for a second or more, and new
	// requests are refused.
	BreakerFailures int
}

// Bounds of the settings. They keep a slip of the finger from becoming an
// outage; none of them is a tuning advice.
const (
	MaxBatchSize     = 4096        // links of one batch trace and elements of one list stay printable
	LongestMaxWait   = time.Minute // far beyond any window that could pay
	MostInFlight     = 4096        // each holds a connection to the server
	MostPrefixBlocks = 1 << 24     // 1 billion tokens; some 2 GB
	LongestMaxAge    = time.Hour
	MostRetries      = 10
	MostFailures     = 1000
	MostForwards     = 1000 // minutes of a server's time
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

// Validate returns a *SettingError naming the first setting that is out of
// range, or nil.
func (s Settings) Validate() error {
	for _, f := range []struct {
		field          string
		low, high, got int64
	}{
		{"batch_size", 1, MaxBatchSize, int64(s.BatchSize)},
		{"max_in_flight", 1, MostInFlight, int64(s.MaxInFlight)},
		{"batch_forwards", 0, MostForwards, int64(s.BatchForwards)},
		{"prefix_blocks", 1, MostPrefixBlocks, int64(s.PrefixBlocks)},
		{"retries", 0, MostRetries, int64(s.Retries)},
		{"breaker_failures", 1, MostFailures, int64(s.BreakerFailures)},
	} {
		if f.got < f.low || f.got > f.high {
			return outOfRange(f.field, f.low, f.high, f.got)
		}
	}
	switch {
	case s.Mode >= numModes:
		return &SettingError{"mode", fmt.Sprintf("must be fixed, unbatched or auto, got %v", s.Mode)}
	case s.BatchTokens < 0:
		return tooSmall("batch_tokens", 0, s.BatchTokens)
	case s.BatchBytes < 0:
		return tooSmall("batch_bytes", 0, s.BatchBytes)
	case s.MaxWait < 0 || s.MaxWait > LongestMaxWait:
		return outOfRange("max_wait", "0s", LongestMaxWait, s.MaxWait)
	case s.MaxAge < 0 || s.MaxAge > LongestMaxAge:
		return outOfRange("max_age", "0s", LongestMaxAge, s.MaxAge)
	case s.QueueRequests < 1:
		return tooSmall("queue_requests", 1, int64(s.QueueRequests))
	case s.QueueBytes < 1:
		return tooSmall("queue_bytes", 1, s.QueueBytes)
	}
	return nil
}

func outOfRange(field string, low, high, got any) error {
	return &SettingError{field, fmt.Sprintf("must be from %v to %v, got %v", low, high, got)}
}

func tooSmall(field string, low, got int64) error {
	return &SettingError{field, fmt.Sprintf("must be at least %d, got %d", low, got)}
}
