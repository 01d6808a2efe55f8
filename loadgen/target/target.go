// Package target is where loadgen sends its prompts: through a proxy
// (Proxy) or straight to SGLang (Direct). Both answer with the same facts, as
// the server counted them.
//
// It never measures time: that is package sweep's work.
package target

import (
	"context"
	"time"
)

// Prompt is one prompt to be read.
type Prompt struct {
	ID         string // name of the trajectory it comes from
	Text, Tail string // what is sent is one after the other: the turns of a conversation share their beginnings

	// Follows says that it is a further turn of the conversation of the prompt before
	// it: it is sent once that was answered and Pause, in seconds of the report, is
	// over.
	Follows bool
	Pause   time.Duration

	// Joins says that it begins a copy of the conversation before it, Stagger, in
	// seconds of the report, after that began.
	Joins   bool
	Stagger time.Duration

	At   time.Duration // of a recorded trace: when it was sent, in seconds of the recording from its beginning
	Kind string        // of a mix: which kind of load it is of
}

// Answer is what came back for one prompt. A target answers only when the
// server's reply has been received in full.
type Answer struct {
	PromptTokens int // as the server counted
	CachedTokens int // of these, from its prefix cache

	// From the proxy's receipt; zero when there is no proxy.
	BatchID       string
	BatchSize     int
	ReleaseReason string
	QueueWait     time.Duration // real time, not simulated

	TraceID string // of the prompt's trace; empty where it is not sampled. Set with an error, too
}

// Sender sends prompts. It is safe for concurrent use.
type Sender interface {
	// Send sends one prompt and waits for its answer.
	Send(ctx context.Context, p Prompt) (Answer, error)
	// Cause names an error of Send in one word for counting, without any
	// text of the prompt: UNAVAILABLE, DEADLINE_EXCEEDED…
	Cause(err error) string
}
