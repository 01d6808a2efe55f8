package batcher

// Stats is what a Batcher holds now and has done since it was made. At every
// moment Accepted = Answered + Failed + Cancelled + Queued + InFlightRequests.
type Stats struct {
	Queued           int   // requests waiting
	QueuedBytes      int64 // prompt bytes waiting
	InFlight         int   // batches dispatched and not returned
	InFlightRequests int   // requests in them whose caller still waits

	Accepted  uint64 // requests taken into the queue
	Answered  uint64 // ended with a result
	Failed    uint64 // ended with an error that is not their caller's
	Cancelled uint64 // ended because their context did
	Merged    uint64 // of those released: requests that needed no prompt of their own
	Refused   uint64 // never accepted: queue full, draining or closed

	Releases [NumReasons]Released // batches released so far, by reason
}

// Released counts the batches released for one reason and their requests.
type Released struct {
	Batches, Requests uint64
}
