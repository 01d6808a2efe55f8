package batcher

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrDraining refuses a request because the batcher is draining.
	ErrDraining = errors.New("batcher: draining, no new requests are taken")
	// ErrClosed refuses or ends a request because the batcher was closed.
	ErrClosed = errors.New("batcher: closed")
	// ErrUnanswered ends a request for which the Sender returned no result.
	ErrUnanswered = errors.New("batcher: the batch ended without an answer for this request")
	// ErrResumed ends a Drain that Resume undid.
	ErrResumed = errors.New("batcher: drain was undone by resume")
)

// FullError refuses a request because a bound of the queue is reached.
type FullError struct {
	Bound string // the setting: queue_requests or queue_bytes
	Limit int64  // its value
}

// Error implements error.
func (e *FullError) Error() string {
	return fmt.Sprintf("batcher: queue is full: %s is %d", e.Bound, e.Limit)
}

// PausedError refuses a request because the server failed every recent call.
type PausedError struct {
	For time.Duration // until the next try
}

// Error implements error.
func (e *PausedError) Error() string {
	return fmt.Sprintf("batcher: the server failed every recent call and is left alone for %v", e.For.Round(time.Millisecond))
}

// LateError ends a request that can't be answered before its deadline. It was never
// sent.
type LateError struct {
	Left  time.Duration // until the deadline
	Needs time.Duration // predicted min time to an answer
}

// Error implements error.
func (e *LateError) Error() string {
	return fmt.Sprintf("batcher: the deadline comes in %v, and an answer takes at least %v",
		e.Left.Round(time.Millisecond), e.Needs.Round(time.Millisecond))
}
