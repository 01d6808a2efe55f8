package batcher

import (
	"context"
	"slices"
	"time"

	"paceline/batcher/prefix"
)

// Item is one request to be batched.
type Item[Q any] struct {
	Value  Q      // handed to the Sender as it is
	Bytes  int    // size of the prompt, counted against QueueBytes
	Tokens int    // prompt tokens, or an estimate; 0 where unknown
	Key    string // only items of equal key share a batch

	// Priority orders the batches of different keys, higher first. Items of one
	// key have one priority.
	Priority int

	// Caller names who asks: callers share the server in proportion to their
	// Weight (0 means 1), measured in tokens computed for them.
	Caller string
	Weight float64

	// Prefix names the beginnings of the prompt; nil where nothing is known.
	Prefix prefix.Prefix

	// MergeKey is equal for items whose answer is the same: those that wait
	// together are sent as one prompt, and each caller gets the answer.
	MergeKey MergeKey
}

// MergeKey is everything that the answer to an item depends on. Hash finds
// candidates quickly; two items are merged only if all fields are equal, so a
// collision costs nothing. An item with a zero Hash is merged with nothing.
type MergeKey struct {
	Hash    uint64
	Options string // what else the server sees of the request, encoded
	Text    string // the prompt, as text
	IDs     []int32
}

func (k *MergeKey) equal(o *MergeKey) bool {
	return k.Hash == o.Hash && k.Options == o.Options && k.Text == o.Text && slices.Equal(k.IDs, o.IDs)
}

// Receipt tells how an item travelled. It is zero for one that was never released.
type Receipt struct {
	BatchID   uint64        // see Batch.ID
	Size      int           // members of the batch when it was released
	Position  int           // place in it, from 0
	Reason    Reason        // why it was released
	QueueWait time.Duration // from being accepted to the release
	Merged    int           // other items that the same prompt answered

	// What was expected at the release: the time until the answer, 0 while too
	// little was learned, and the tokens of this prompt that are not cached.
	Predicted         time.Duration
	PredictedUncached int

	Attached any // by the Sender: see Batch.Attach
}

// pending is an item from Submit to its end. It is part of exactly one waiting
// prompt or batch, and of none once it has ended.
type pending[Q, R any] struct {
	Item[Q]
	ctx      context.Context
	deadline time.Time // of ctx; zero: none
	done     func()    // tells the caller; called once, without mu

	// Guarded by Batcher.mu until the item has ended.
	accepted time.Time
	caller   *caller
	prompt   *prompt[Q, R] // while it waits
	batch    *Batch[Q, R]  // while it is in flight
	receipt  Receipt
	result   R
	err      error
}
