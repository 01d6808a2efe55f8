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
)

// String is the mode's name in flags and reports.
func (m Mode) String() string {
	switch m {
	case ModeFixed:
		return "fixed"
	case ModeUnbatched:
		return "unbatched"
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
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

	// MergeIdentical sends requests of one Identity that wait together as one
	// prompt.
	MergeIdentical bool

	// MaxWait is the longest time the oldest request waits for its batch to
	// fill. At 0 whatever is queued is released as soon as a slot is free.
	MaxWait time.Duration

	// MaxInFlight is the most batches dispatched at once.
	MaxInFlight int

	// QueueRequests is the most requests waiting; beyond it Submit refuses.
	QueueRequests int

	// QueueBytes is the most prompt bytes waiting; beyond it Submit refuses.
	QueueBytes int64
}

// Bounds of the settings. They keep a slip of the finger from becoming an
// outage; none of them is a tuning advice.
const (
	MaxBatchSize   = 4096        // links of one batch trace and elements of one list stay printable
	LongestMaxWait = time.Minute // far beyond any window that could pay
	MostInFlight   = 4096        // each holds a connection to the server
)

// DefaultSettings returns the defaults.
func DefaultSettings() Settings {
	return Settings{
		Mode:           ModeFixed,
		BatchSize:      16,                   // the largest size of the benchmark of record
		MaxWait:        5 * time.Millisecond, // below one forward of any model worth serving
		MaxInFlight:    2,                    // one is computed while the next is parsed
		MergeIdentical: true,                 // it saves a whole prompt, always
		QueueRequests:  10_000,               // minutes of work: more would only miss its deadlines
		QueueBytes:     256 << 20,            // 10,000 prompts of 26 KiB
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
	switch {
	case s.Mode != ModeFixed && s.Mode != ModeUnbatched:
		return &SettingError{"mode", fmt.Sprintf("must be fixed or unbatched, got %v", s.Mode)}
	case s.BatchSize < 1 || s.BatchSize > MaxBatchSize:
		return outOfRange("batch_size", 1, MaxBatchSize, s.BatchSize)
	case s.BatchTokens < 0:
		return &SettingError{"batch_tokens", fmt.Sprintf("must be at least 0, got %d", s.BatchTokens)}
	case s.BatchBytes < 0:
		return &SettingError{"batch_bytes", fmt.Sprintf("must be at least 0, got %d", s.BatchBytes)}
	case s.MaxWait < 0 || s.MaxWait > LongestMaxWait:
		return outOfRange("max_wait", "0s", LongestMaxWait, s.MaxWait)
	case s.MaxInFlight < 1 || s.MaxInFlight > MostInFlight:
		return outOfRange("max_in_flight", 1, MostInFlight, s.MaxInFlight)
	case s.QueueRequests < 1:
		return &SettingError{"queue_requests", fmt.Sprintf("must be at least 1, got %d", s.QueueRequests)}
	case s.QueueBytes < 1:
		return &SettingError{"queue_bytes", fmt.Sprintf("must be at least 1, got %d", s.QueueBytes)}
	}
	return nil
}

func outOfRange(field string, low, high, got any) error {
	return &SettingError{field, fmt.Sprintf("must be from %v to %v, got %v", low, high, got)}
}
