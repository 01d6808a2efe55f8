package batcher

import "paceline/batcher/tune"

// Stats is what a Batcher holds now and has done since it was made. At every
// moment Accepted = Answered + Failed + Cancelled + Queued + InFlightRequests.
type Stats struct {
	Queued           int   // requests waiting
	QueuedBytes      int64 // prompt bytes waiting
	Held             int   // waiting prompts that are held for another's answer, to share its tokens
	InFlight         int   // batches sent and not returned
	InFlightRequests int   // requests in them whose caller still waits
	Callers          int   // with work here now or lately
	CachedBlocks     int   // blocks believed in the server's prefix cache

	Accepted  uint64 // requests taken into the queue
	Answered  uint64 // ended with a result
	Failed    uint64 // ended with an error that is not their caller's
	Cancelled uint64 // ended because their context did, or their deadline could not be met
	Merged    uint64 // released requests that needed no prompt of their own
	Refused   uint64 // never accepted: queue full, too late, server away, draining or closed
	Splits    uint64 // batches, or parts of one, sent again in parts because of a bad member
	Retries   uint64 // calls repeated because the server failed them

	Releases [NumReasons]Released // batches released so far, by reason

	Cost        tune.Cost // as learned
	BreakerOpen bool      // nothing is sent now: the server failed every recent call
	Plan        tune.Plan // of ModeAuto; zero in other modes
}

// Released counts the batches released for one reason and their requests.
type Released struct {
	Batches, Requests uint64
}
