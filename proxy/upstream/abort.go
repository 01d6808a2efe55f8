package upstream

import (
	"context"
	"time"
)

// Aborting is done beside the call, for callers that have gone: it must neither
// last nor flood a server that is in trouble.
const (
	abortTimeout = 2 * time.Second
	abortsAtOnce = 16
)

// abortIfGone has SGLang abort the request of that rid once its caller has gone, and
// does not wait for that. stop ends the watch: SGLang is done with the request.
func (u *Upstream) abortIfGone(caller context.Context, rid string) (stop func()) {
	u.aborts.Add(1)
	unwatch := context.AfterFunc(caller, func() {
		defer u.aborts.Done()
		u.abort(rid)
	})
	return func() {
		if unwatch() {
			u.aborts.Done()
		}
	}
}

// abort ends the work for rid at SGLang.
func (u *Upstream) abort(rid string) {
	ctx, cancel := context.WithTimeout(context.Background(), abortTimeout)
	defer cancel()
	select {
	case u.abortSlots <- struct{}{}:
		defer func() { <-u.abortSlots }()
		// A failed abort costs SGLang some work and nobody an answer.
		_ = u.client.Abort(ctx, rid)
	case <-ctx.Done():
	}
}
