package upstream

import (
	"context"

	"golang.org/x/time/rate"
)

// Caller is who asks: the name of an API key, or the host of the peer. Callers
// share SGLang in proportion to their weights.
type Caller struct {
	Name   string
	Weight float64       // 0 is 1
	Rate   *rate.Limiter // of prompts; nil sets no bound
}

type callerContext struct{}

// WithCaller notes whose request a context belongs to.
func WithCaller(ctx context.Context, c *Caller) context.Context {
	return context.WithValue(ctx, callerContext{}, c)
}

// callerOf returns the caller of a context, or one with the name of the host, which
// is unbounded.
func callerOf(ctx context.Context, host string) Caller {
	if c, ok := ctx.Value(callerContext{}).(*Caller); ok {
		return *c
	}
	return Caller{Name: host}
}

// reserve counts one prompt against the caller's rate. The error is a *rateError.
func (c Caller) reserve() error {
	if c.Rate == nil {
		return nil
	}
	r := c.Rate.Reserve()
	if wait := r.Delay(); wait > 0 {
		r.Cancel()
		return &rateError{wait}
	}
	return nil
}
