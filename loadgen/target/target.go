// Package target sends prompts: through a proxy (Proxy) or straight to SGLang (Direct). Both
// answer with the same facts, as the server counted them. Read Prompt, Answer and Sender first.
//
// The package never measures time: package sweep does.
package target

import (
	"context"
	"time"
)

// Prompt is one prompt to send.
type Prompt struct {
	ID         string // of the trajectory it comes from
	Text, Tail string // Text+Tail is sent; the turns of a conversation share their Text

	// Follows marks a further turn of the conversation of the prompt before it. It is sent
	// when that was answered and Pause, in time of the report, is over.
	Follows bool
	Pause   time.Duration

	// Joins marks the first turn of a copy of the conversation before it. The copy begins
	// Stagger, in time of the report, after that conversation.
	Joins   bool
	Stagger time.Duration

	At   time.Duration // of a recorded trace: when it was sent, from the beginning of the trace
	Kind string        // of a mix: the kind of load it belongs to
}

// Answer is what came back for one prompt. A target answers only when the server's reply has
// been received in full.
type Answer struct {
	PromptTokens int // as the server counted
	CachedTokens int // of these, from its prefix cache

	// From the proxy's receipt; zero when there is no proxy.
	BatchID       string
	BatchSize     int
	ReleaseReason string
	QueueWait     time.Duration // real time, not simulated

	TraceID string // empty if the prompt is not sampled; also set with an error
}

// Sender sends prompts. It is safe for concurrent use.
type Sender interface {
	// Send sends one prompt and waits for its answer.
	Send(ctx context.Context, p Prompt) (Answer, error)
	// Cause names an error of Send in one word for counting, without text of the prompt:
	// Unavailable, DeadlineExceeded, …
	Cause(err error) string
}
