package batcher

// Stats is what a Batcher holds now and has done since it was made. At every
// moment Accepted = Answered + Failed + Cancelled + Queued + InFlightRequests.
type Stats struct {
	Queued           int   // requests waiting
	QueuedBytes      int64 // prompt bytes waiting
	Held             int   // prompts of these that wait for another's answer, to share its tokens
	InFlight         int   // batches dispatched and not returned
	InFlightRequests int   // requests in them whose caller still waits
	Callers          int   // with work here, or lately
	CachedBlocks     int   // blocks believed in the server's prefix cache

	Accepted  uint64 // requests taken into the queue
	Answered  uint64 // ended with a result
	Failed    uint64 // ended with an error that is not their caller's
	Cancelled uint64 // ended because their context did, or their deadline could not be met
	Merged    uint64 // of those released: requests that needed no prompt of their own
	Refused   uint64 // never accepted: queue full, too late, server away, draining or closed
	Splits    uint64 // batches, or parts of one, sent again in parts because of a bad member
	Retries   uint64 // calls repeated because the server failed them

	Releases [NumReasons]Released // batches released so far, by reason

	Cost        Cost // as learned
	BreakerOpen bool // nothing is sent now: the server failed every recent call
	Plan        Plan // of ModeAuto; zero in other modes
}

// Released counts the batches released for one reason and their requests.
type Released struct {
	Batches, Requests uint64
}

// Plus is what two batchers hold and have done together. What each learned and
// chose (Cost, Plan) is that of s.
func (s Stats) Plus(o Stats) Stats {
	s.Queued += o.Queued
	s.QueuedBytes += o.QueuedBytes
	s.Held += o.Held
	s.InFlight += o.InFlight
	s.InFlightRequests += o.InFlightRequests
	s.Callers = max(s.Callers, o.Callers) // mostly the same ones
	s.CachedBlocks += o.CachedBlocks
	s.Accepted += o.Accepted
	s.Answered += o.Answered
	s.Failed += o.Failed
	s.Cancelled += o.Cancelled
	s.Merged += o.Merged
	s.Refused += o.Refused
	s.Splits += o.Splits
	s.Retries += o.Retries
	for i := range s.Releases {
		s.Releases[i].Batches += o.Releases[i].Batches
		s.Releases[i].Requests += o.Releases[i].Requests
	}
	s.BreakerOpen = s.BreakerOpen && o.BreakerOpen
	return s
}
