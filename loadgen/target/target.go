// Package target sends prompts through a proxy (Proxy) or straight to SGLang (Direct), and works other
// than prefill to either (HTTP). All return the same Answer, with the server's own token counts. Read
// Prompt, Answer and Sender first.
//
// The package measures no time but that to the first token of a stream; package sweep does.
package target

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"paceline/proxy/telemetry"
	"paceline/sglang"
)

// Prompt is one prompt to send.
type Prompt struct {
	ID string // of the trajectory it comes from
	// Head+Text+Tail is sent. The turns of a conversation share the memory of their Text, and single
	// prompts that of their Head and Tail.
	Head, Text, Tail string

	Recorded int // prompt tokens as the trajectory's own server counted them; 0: unknown

	// Follows marks a later turn of the previous prompt's conversation. It is sent once that
	// prompt was answered and Pause is over.
	Follows bool
	Pause   time.Duration

	// Joins marks the first turn of a copy of the previous conversation. In an open loop the two begin
	// together.
	Joins bool

	At time.Duration // recorded traces only: when it was sent, from the start of the trace

	Body      []byte // of Score and Decide: the request, instead of a text
	Questions int    // SGLang makes one prompt for each; 0 means that the request is one prompt itself
}

// Full returns what is sent of a text.
func (p Prompt) Full() string { return p.Head + p.Text + p.Tail }

// Bytes returns the most bytes that SGLang's prompts can have. For a body, each question's prompt has
// fewer than the whole.
func (p Prompt) Bytes() int64 {
	return int64(len(p.Head)+len(p.Text)+len(p.Tail)) + int64(p.Questions*len(p.Body))
}

// Answers returns how many answers the prompt gets: one, or one for each question.
func (p Prompt) Answers() int { return max(1, p.Questions) }

// Answer is the answer to one prompt. A Sender returns it only after it has received the server's
// reply in full.
type Answer struct {
	PromptTokens int // as the server counted
	CachedTokens int // of these, from its prefix cache
	OutputTokens int // new tokens; of Generate

	CachedUnknown bool          // the answer does not tell CachedTokens
	FirstToken    time.Duration // from the send to the first token; of Generate

	// From the proxy's receipt; zero without a proxy.
	BatchID       string
	BatchSize     int
	ReleaseReason string
	QueueWait     time.Duration
	Attempts      int // times that the proxy sent it to SGLang

	TraceID string // empty if the prompt is not sampled; also set with an error
}

// Sender sends one prompt and waits for its answer. It is safe for concurrent use.
type Sender interface {
	Send(ctx context.Context, p Prompt) (Answer, error)
}

// Cause returns a short name of a Sender's error, for counting: Unavailable, DeadlineExceeded, HTTP
// 503. It never holds text of a prompt.
func Cause(err error) string {
	var se *sglang.Error
	switch {
	case errors.As(err, &se) && se.Status != 0:
		return fmt.Sprintf("HTTP %d", se.Status)
	case errors.As(err, &se):
		return codes.Unavailable.String()
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return status.FromContextError(err).Code().String()
	}
	return status.Code(err).String()
}

// Direct sends straight to SGLang, one prompt a call: the baseline without a proxy.
type Direct struct {
	Client       *sglang.Client
	MaxNewTokens int     // of every prompt: 0 or 1
	Tracer       *Tracer // nil: no spans; Client has its Header
}

// Send implements Sender.
func (d *Direct) Send(ctx context.Context, p Prompt) (Answer, error) {
	ctx, end := d.Tracer.begin(ctx, telemetry.SpanGenerate, p)
	results, err := d.Client.Generate(ctx, sglang.Call{Requests: []sglang.Request{{
		RID: sglang.NewRID(), Text: p.Full(), MaxNewTokens: d.MaxNewTokens,
	}}})
	if err == nil {
		err = results[0].Err
	}
	if err != nil {
		return Answer{TraceID: end(Cause(err))}, err
	}
	meta := results[0].Answer.Meta
	return Answer{PromptTokens: meta.PromptTokens, CachedTokens: meta.CachedTokens, TraceID: end("")}, nil
}

// Flush empties SGLang's prefix cache. It waits up to timeout for running work to end.
func (d *Direct) Flush(ctx context.Context, timeout time.Duration) error {
	if err := d.Client.FlushCache(ctx, timeout); err != nil {
		return fmt.Errorf("flush SGLang's cache: %w", err)
	}
	return nil
}
