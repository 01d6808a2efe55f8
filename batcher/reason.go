package batcher

import "fmt"

// Reason is why a batch was released when it was.
type Reason uint8

// The reasons.
const (
	ReasonNone      Reason = iota // not released
	ReasonFull                    // the batch size was reached
	ReasonBudget                  // the token or byte budget was reached
	ReasonWait                    // the oldest request had waited MaxWait
	ReasonDeadline                // a member's deadline would have been missed
	ReasonIdle                    // MaxWait is 0 and a slot was free
	ReasonDrain                   // the batcher is draining
	ReasonUnbatched               // ModeUnbatched

	// NumReasons is the number of reasons, ReasonNone included.
	NumReasons
)

var reasonNames = [NumReasons]string{"none", "full", "budget", "wait", "deadline", "idle", "drain", "unbatched"}

// String is the reason's name in receipts, metrics and reports.
func (r Reason) String() string {
	if r < NumReasons {
		return reasonNames[r]
	}
	return fmt.Sprintf("Reason(%d)", uint8(r))
}
