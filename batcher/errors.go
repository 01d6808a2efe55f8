package batcher

import (
	"errors"
	"fmt"
)

var (
	// ErrDraining refuses a request because the batcher is draining.
	ErrDraining = errors.New("batcher: draining, no new requests are taken")
	// ErrClosed refuses or ends a request because the batcher was closed.
	ErrClosed = errors.New("batcher: closed")
	// ErrUnanswered ends a request that Dispatch neither answered nor failed.
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
