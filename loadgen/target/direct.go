package target

import (
	"context"
	"errors"
	"fmt"
	"time"

	"paceline/sglang"
)

// Direct sends straight to SGLang, one prompt a call: the baseline without a
// proxy.
type Direct struct {
	Client       *sglang.Client
	MaxNewTokens int // of every prompt: 0 or 1
}

// Send implements Sender.
func (d *Direct) Send(ctx context.Context, p Prompt) (Answer, error) {
	results, err := d.Client.Generate(ctx, sglang.Call{Requests: []sglang.Request{{
		RID: sglang.NewRID(), Text: p.Text, MaxNewTokens: d.MaxNewTokens,
	}}})
	if err != nil {
		return Answer{}, err
	}
	if err := results[0].Err; err != nil {
		return Answer{}, err
	}
	meta := results[0].Answer.Meta
	return Answer{PromptTokens: meta.PromptTokens, CachedTokens: meta.CachedTokens}, nil
}

// Flush empties SGLang's prefix cache, waiting up to timeout for running work
// to end.
func (d *Direct) Flush(ctx context.Context, timeout time.Duration) error {
	if err := d.Client.FlushCache(ctx, timeout); err != nil {
		return fmt.Errorf("flush SGLang's cache: %w", err)
	}
	return nil
}

// Cause implements Sender.
func (d *Direct) Cause(err error) string {
	var se *sglang.Error
	switch {
	case errors.As(err, &se) && se.Status != 0:
		return fmt.Sprintf("HTTP %d", se.Status)
	case errors.As(err, &se):
		return "Unavailable"
	}
	return Cause(err)
}
