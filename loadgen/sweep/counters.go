package sweep

import (
	"context"

	"paceline/sglang"
)

// Work is SGLang's own account of prefill, counted since it started.
type Work struct {
	UncachedTokens int64   // tokens computed
	BusySeconds    float64 // time spent computing them
}

// Counters reads SGLang's own account.
type Counters interface {
	Work(ctx context.Context) (Work, error)
}

// ServerCounters reads /v1/loads.
type ServerCounters struct{ Client *sglang.Client }

// Work implements Counters.
func (c ServerCounters) Work(ctx context.Context) (Work, error) {
	load, err := c.Client.Loads(ctx)
	if err != nil {
		return Work{}, err
	}
	return Work{load.TotalPrefillUncachedTokens, float64(load.TotalPrefillBusyMicros) / 1e6}, nil
}

func (s *Sweep) count(ctx context.Context) (Work, error) {
	if s.Counters == nil {
		return Work{}, nil
	}
	return s.Counters.Work(ctx)
}
