package batcher

import (
	"context"
	"time"

	"paceline/batcher/prefix"
)

// Passing is a request that its caller sends to the server itself, once it is admitted.
type Passing struct {
	Prefix prefix.Prefix // of its prompt; nil means unknown, and then it never waits

	// Silent says that the server shows nothing of the request before its end, so the end
	// of its prefill can't be seen.
	Silent bool

	// Trace is the caller's, for Grant.Leader of those that follow.
	Trace any
}

// Role is the part of an admitted request in the reading of a new prefix.
type Role uint8

// Roles.
const (
	Alone    Role = iota // its prompt has no new prefix that is worth a wait
	Leader               // those that share its new prefix wait until its prefill is over
	Follower             // it waited for a leader
	Overtook             // it waited for a leader for MaxAge, and then went
)

func (r Role) String() string { return [...]string{"alone", "leader", "follower", "overtook"}[r] }

// Grant lets an admitted request go. Its methods may be called from any goroutine.
type Grant struct {
	Role   Role
	Held   time.Duration // how long the request waited
	Shared int           // blocks of its prefix that were computed for others when it arrived
	Leader any           // Passing.Trace of the one that it waited for; nil if that is not known

	// Doubted says that its prefix is believed to be cached, but others may have emptied the
	// cache since it was used last.
	Doubted bool

	// Prefill says that the prompt should be sent without new tokens first, followed by
	// Prefilled: others share its new prefix, and it is silent.
	Prefill bool

	end func(prefilled bool, u Usage)
}

// Prefilled says that the server has computed the prompt: the followers go. The server's
// counts correct the model of its cache; without prompt tokens they are unknown. Calls
// after the first do nothing.
func (g *Grant) Prefilled(u Usage) { g.end(true, u) }

// Done ends the grant. If the prompt was not prefilled, a follower leads the others.
func (g *Grant) Done() { g.end(false, Usage{}) }

// MinShared is the min length, in blocks, of a new prefix that is worth a wait or a second
// call. On an H100 SGLang computes 256 tokens in the time of an empty forward.
const MinShared = 4

// probeShare is the share of followers among silent requests from which on a silent leader
// is prefilled first: an additional forward, for one in four saved.
const probeShare = 0.25

// admissions are the requests of Admit.
type admissions struct {
	waiting   *prefix.Group
	all       map[*admission]struct{} // that wait
	following float64                 // recent share of followers among silent requests
	stats     AdmitStats
}

// AdmitStats counts the requests of Admit.
type AdmitStats struct {
	Waiting      int
	Admitted     uint64
	Roles        [4]uint64 // of those, by Role
	SharedBlocks uint64    // that followers found computed
}

// admission is a request of Admit. Batcher.mu guards it.
type admission struct {
	Passing
	entry  prefix.Entry
	flight prefix.InFlight
	grant  Grant
	ready  chan struct{} // closed when the wait is over
	err    error         // ErrClosed, if so
}

// Admit waits until the server should see a request. A request that shares a new prefix
// with one that is being computed waits until that is over, and at most MaxAge; all others
// go at once. The caller must call Done of the grant. A *FullError, ErrDraining or
// ErrClosed refuses the request. If ctx ends first, Admit returns its error.
func (b *Batcher[Q, R]) Admit(ctx context.Context, p Passing) (*Grant, error) {
	a := &admission{Passing: p, ready: make(chan struct{})}
	a.entry = prefix.Entry{Prefix: p.Prefix, Value: a}
	a.grant.end = func(prefilled bool, u Usage) {
		b.mu.Lock()
		defer b.unlock()
		b.finishPassing(a, prefilled, u)
	}
	longest, err := b.arrive(a)
	if err != nil || longest == 0 {
		return &a.grant, err
	}
	arrived := time.Now()
	timer := time.NewTimer(longest)
	defer timer.Stop()
	select {
	case <-a.ready:
	case <-timer.C:
		b.stopWaiting(a, true)
	case <-ctx.Done():
		b.stopWaiting(a, false)
		return nil, ctx.Err()
	}
	a.grant.Held = time.Since(arrived)
	return &a.grant, a.err
}

// arrive grants a request, or returns how long it waits at most.
func (b *Batcher[Q, R]) arrive(a *admission) (longest time.Duration, err error) {
	b.mu.Lock()
	defer b.unlock()
	s := &b.passing
	if err := b.refusal(1, 0); err != nil {
		return 0, err
	}
	s.stats.Admitted++
	if b.settings.Share != ShareAll {
		a.entry.Prefix = nil
	}
	b.model.SetTime(time.Now())
	trusted, computing := b.model.Computing(a.entry.Prefix)
	a.grant.Shared = computing
	isNew, shares := len(a.entry.Prefix)-trusted >= MinShared, computing >= MinShared
	if a.Silent && isNew {
		follows := 0.0
		if shares {
			follows = 1
		}
		s.following += (follows - s.following) / 16
	}
	s.waiting.Add(&a.entry)
	if leader, held := a.entry.Held(); shares && held && b.settings.MaxAge > 0 {
		if l, passes := leader.(*admission); passes {
			a.grant.Leader = l.Trace
		}
		s.all[a] = struct{}{}
		return b.settings.MaxAge, nil
	}
	if isNew {
		a.grant.Role = Leader
		a.grant.Doubted = len(a.entry.Prefix)-b.model.Known(a.entry.Prefix, false) < MinShared
	}
	b.grant(a, isNew && (shares || s.following >= probeShare))
	return 0, nil
}

// grant ends the wait of a request. A silent one leads others only if it is prefilled
// first: because some wait already, or are expected. It requires mu.
func (b *Batcher[Q, R]) grant(a *admission, expected bool) {
	a.flight = b.model.Send(&a.entry)
	if a.Silent {
		a.grant.Prefill = expected || a.flight.Followed()
		if !a.grant.Prefill {
			b.model.Unlead(&a.flight)
		}
	}
	b.passing.stats.Roles[a.grant.Role]++
	close(a.ready)
}

// admitWaiting grants all requests that nothing holds any more. It requires mu.
func (b *Batcher[Q, R]) admitWaiting() {
	for e := b.passing.waiting.Next(); e != nil; e = b.passing.waiting.Next() {
		a := e.Value.(*admission)
		delete(b.passing.all, a)
		a.grant.Role = Follower
		b.passing.stats.SharedBlocks += uint64(a.grant.Shared)
		b.grant(a, false)
	}
}

// stopWaiting ends the wait of a request before its leader's prefill is over: it overtakes
// the leader, or its caller has gone. The wait may have ended meanwhile.
func (b *Batcher[Q, R]) stopWaiting(a *admission, overtakes bool) {
	b.mu.Lock()
	defer b.unlock()
	_, waits := b.passing.all[a]
	delete(b.passing.all, a)
	switch {
	case waits && overtakes:
		a.grant.Role = Overtook
		b.grant(a, false)
	case waits:
		b.passing.waiting.Remove(&a.entry)
	case !overtakes:
		b.finishPassing(a, false, Usage{})
	}
}

// finishPassing frees the followers of a request. It requires mu.
func (b *Batcher[Q, R]) finishPassing(a *admission, prefilled bool, u Usage) {
	if prefilled {
		cached := prefix.NotCounted
		if u.PromptTokens > 0 {
			cached = cachedBlocks(u, float64(len(a.entry.Prefix)+1))
		}
		b.model.SetTime(time.Now())
		b.model.Answer(&a.flight, cached)
	}
	if b.model.Finish(&a.flight) {
		b.release(time.Now())
	}
}

// closeWaiting ends all waits with ErrClosed. It requires mu.
func (b *Batcher[Q, R]) closeWaiting() {
	for a := range b.passing.all {
		delete(b.passing.all, a)
		b.passing.waiting.Remove(&a.entry)
		a.err = ErrClosed
		close(a.ready)
	}
}
