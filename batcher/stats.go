package batcher

import "paceline/batcher/tune"

// Stats counts what a Batcher holds now and has done since New. At every moment
// Accepted = Answered + Failed + Cancelled + Queued + InFlightRequests.
type Stats struct {
	Queued           int   // requests waiting
	QueuedBytes      int64 // prompt bytes waiting
	ReservedBytes    int64 // of Reserve
	Held             int   // waiting prompts that are held for the answer to another, to share its tokens
	InFlight         int   // batches sent and not returned
	InFlightRequests int   // requests in them whose caller still waits
	Callers          int   // callers with items now, or that were lately served more than their share
	CachedBlocks     int   // blocks in the model of the server's prefix cache

	Accepted  uint64 // requests put into the queue
	Answered  uint64 // ended with a result
	Failed    uint64 // ended with an error, except Cancelled
	Cancelled uint64 // ended because their context did, or their deadline could not be met
	Merged    uint64 // released requests that needed no prompt of their own
	Refused   uint64 // never accepted: queue full, too late, server away, draining or closed
	Splits    uint64 // batches, or parts of one, sent again in parts because of a bad member
	Retries   uint64 // calls repeated because the server failed them

	Passing AdmitStats // requests of Admit, which are in none of the counts above

	Releases [NumReasons]Released // batches released so far, by reason

	Cost        tune.Cost // as learned
	BreakerOpen bool      // nothing is sent now: the server failed every recent call
}

// Released counts the batches released for one reason and their requests.
type Released struct {
	Batches, Requests uint64
}
