package batcher

import (
	"context"
	"slices"
	"time"

	"paceline/batcher/prefix"
)

// Item is one request to be batched.
type Item[Q any] struct {
	Value  Q      // for the Sender
	Bytes  int    // size of the prompt, counted against QueueBytes
	Tokens int    // prompt tokens, or an estimate; 0 means unknown
	Key    string // only items of equal key share a batch

	// Priority orders the batches of different keys, higher first. Items of equal
	// key have equal priority.
	Priority int

	// Caller names the caller. Callers share the server in proportion to their
	// Weight (0 means 1), measured in the tokens computed for them.
	Caller string
	Weight float64

	// Prefix names the beginnings of the prompt; nil means unknown.
	Prefix prefix.Prefix

	// MergeKey is equal for items that have the same answer. Those that wait together
	// are sent as one prompt, and each caller gets the answer.
	MergeKey MergeKey
}

// MergeKey is everything that the answer to an item depends on. Hash finds candidates
// quickly. Two items are merged only if all fields are equal, so a collision does no
// harm. An item with a zero Hash is never merged.
type MergeKey struct {
	Hash    uint64
	Options string // all other parts of the request that the server sees, encoded
	Text    string // the prompt, as text
	IDs     []int32
}

func (k *MergeKey) equal(o *MergeKey) bool {
	return k.Hash == o.Hash && k.Options == o.Options && k.Text == o.Text && slices.Equal(k.IDs, o.IDs)
}

// Receipt says which batch carried an item. It is zero if the item was never released.
type Receipt struct {
	BatchID   uint64        // see Batch.ID
	Size      int           // members of the batch when it was released
	Position  int           // place in it, from 0
	Reason    Reason        // why it was released
	QueueWait time.Duration // from acceptance to release
	Merged    int           // other items that the same prompt answered

	// Predictions at the release: the time until the answer (0 while too little is
	// learned), and the tokens of this prompt that are not cached.
	Predicted         time.Duration
	PredictedUncached int

	Attached any // by the Sender: see Batch.Attach
}

// pending is an item from Submit to its end. It belongs to exactly one waiting prompt or
// batch, and to none once it has ended.
type pending[Q, R any] struct {
	Item[Q]
	ctx      context.Context
	deadline time.Time // of ctx; zero: none
	done     func()    // called once, without mu, when the item has ended

	// Guarded by Batcher.mu until the item has ended.
	accepted time.Time
	fresh    float64 // tokens that were not cached when it was accepted; 0 without a prefix
	caller   *caller
	prompt   *prompt[Q, R] // while it waits
	batch    *Batch[Q, R]  // while it is in flight
	receipt  Receipt
	result   R
	err      error
}
