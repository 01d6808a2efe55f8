package batcher

import (
	"fmt"
	"time"
)

// Plan is what ModeAuto has chosen, and why.
type Plan struct {
	BatchSize   int
	BatchTokens int64
	MaxWait     time.Duration
	MaxInFlight int
	PrefixHold  bool
	Why         string
}

// tuner chooses for ModeAuto.
type tuner struct {
	last Plan
}

const (
	autoGather   = 2 * time.Millisecond // answers of one batch bring their callers' next requests within this
	autoLargest  = 64
	autoInFlight = 2
	autoLead     = 5 * time.Millisecond
)

// plan chooses for a number of prompts that wait or are in flight.
func (t *tuner) plan(outstanding int, _ Server, _ *meter) Plan {
	size := (outstanding + autoInFlight - 1) / autoInFlight
	t.last = Plan{
		BatchSize: max(1, min(size, autoLargest)), MaxWait: autoGather, MaxInFlight: autoInFlight,
	}
	t.last.Why = fmt.Sprintf("")
	return t.last
}

// wanted is when the server should have the next batch, if it is busy until
// then.
func (t *tuner) wanted(busyUntil time.Time) time.Time {
	if busyUntil.IsZero() {
		return busyUntil
	}
	return busyUntil.Add(-autoLead)
}
