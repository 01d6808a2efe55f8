package target

import (
	"context"
	"errors"
	"fmt"
	"time"

	"paceline/proxy/telemetry"
	"paceline/sglang"
)

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
		RID: sglang.NewRID(), Text: p.Text + p.Tail, MaxNewTokens: d.MaxNewTokens,
	}}})
	if err == nil {
		err = results[0].Err
	}
	if err != nil {
		return Answer{TraceID: end(d.Cause(err))}, err
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
