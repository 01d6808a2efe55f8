package batcher

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"paceline/batcher/prefix"
)

func passing(t *testing.T) *Batcher[int, int] {
	t.Helper()
	b, err := New(sendFunc[int, int](func(_ context.Context, b *Batch[int, int]) []Result[int] {
		return make([]Result[int], b.Size)
	}), DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// sharing is a prompt of a shared beginning and a tail of its own.
func sharing(shared, tail int32) prefix.Prefix {
	ids := make([]int32, 8*prefix.BlockTokens)
	for i := range ids {
		if ids[i] = shared; i >= 6*prefix.BlockTokens {
			ids[i] = tail
		}
	}
	return prefix.OfTokens(ids, "")
}

func TestFollowersWaitUntilTheirLeaderIsPrefilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := passing(t)
		leader, err := b.Admit(t.Context(), Passing{Prefix: sharing(1, 2)})
		if err != nil || leader.Role != Leader || leader.Prefill {
			t.Fatalf("leader: %+v, %v", leader, err)
		}
		var went atomic.Int64
		var wg sync.WaitGroup
		for i := range int32(7) {
			wg.Go(func() {
				g, err := b.Admit(t.Context(), Passing{Prefix: sharing(1, 3+i)})
				if err != nil || g.Role != Follower || g.Shared != 6 || g.Held != time.Second {
					t.Errorf("follower: %+v, %v", g, err)
				}
				went.Add(1)
				g.Prefilled(Usage{})
				g.Done()
			})
		}
		other, err := b.Admit(t.Context(), Passing{Prefix: sharing(100, 101)})
		if err != nil || other.Held != 0 {
			t.Errorf("unrelated: %+v, %v", other, err)
		}
		time.Sleep(time.Second)
		if went.Load() != 0 {
			t.Errorf("%d went before their leader was prefilled", went.Load())
		}
		leader.Prefilled(Usage{})
		wg.Wait()
		leader.Done()
		other.Done()
		if s := b.Stats().Passing; s.Admitted != 9 || s.Roles[Follower] != 7 || s.Waiting != 0 || s.SharedBlocks != 42 {
			t.Errorf("%+v", s)
		}
	})
}

func TestALeaderThatFailsHandsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := passing(t)
		leader, _ := b.Admit(t.Context(), Passing{Prefix: sharing(1, 2)})
		grants := make(chan *Grant, 2)
		for i := range int32(2) {
			go func() {
				g, _ := b.Admit(t.Context(), Passing{Prefix: sharing(1, 3+i)})
				grants <- g
			}()
		}
		synctest.Wait()
		leader.Done()
		synctest.Wait()
		if len(grants) != 1 {
			t.Fatalf("%d followers went; one leads the other", len(grants))
		}
		(<-grants).Prefilled(Usage{})
		(<-grants).Done()
	})
}

func TestASlowLeaderIsOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := passing(t)
		leader, _ := b.Admit(t.Context(), Passing{Prefix: sharing(1, 2)})
		g, err := b.Admit(t.Context(), Passing{Prefix: sharing(1, 3)})
		if err != nil || g.Role != Overtook || g.Held != b.Settings().MaxAge {
			t.Errorf("%+v, %v", g, err)
		}
		g.Done()
		leader.Done()
	})
}

func TestAFollowerThatGoesAwayLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := passing(t)
		leader, _ := b.Admit(t.Context(), Passing{Prefix: sharing(1, 2)})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if g, err := b.Admit(ctx, Passing{Prefix: sharing(1, 3)}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%+v, %v", g, err)
		}
		leader.Done()
		if b.passing.waiting.Len() != 0 || len(b.passing.all) != 0 {
			t.Errorf("%+v", b.passing)
		}
	})
}

func TestSilentRequestsArePrefilledOnceOthersFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := passing(t)
		first, _ := b.Admit(t.Context(), Passing{Prefix: sharing(1, 2), Silent: true})
		second, _ := b.Admit(t.Context(), Passing{Prefix: sharing(1, 3), Silent: true})
		if first.Prefill || !second.Prefill || second.Held != 0 {
			t.Errorf("%+v, %+v", first, second)
		}
		var wg sync.WaitGroup
		for i := range int32(6) {
			wg.Go(func() {
				g, err := b.Admit(t.Context(), Passing{Prefix: sharing(1, 4+i), Silent: true})
				if err != nil || g.Role != Follower || g.Prefill {
					t.Errorf("%+v, %v", g, err)
				}
				g.Done()
			})
		}
		synctest.Wait()
		second.Prefilled(Usage{})
		wg.Wait()
		next, _ := b.Admit(t.Context(), Passing{Prefix: sharing(50, 51), Silent: true})
		if !next.Prefill {
			t.Errorf("others are expected now: %+v", next)
		}
		for _, g := range []*Grant{first, second, next} {
			g.Done()
		}
		for i := range int32(20) { // that share nothing
			g, _ := b.Admit(t.Context(), Passing{Prefix: sharing(1000+i, 2000+i), Silent: true})
			g.Done()
			if i == 19 && g.Prefill {
				t.Error("nobody is expected any more")
			}
		}
	})
}

func TestCloseEndsThoseThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := passing(t)
		leader, _ := b.Admit(t.Context(), Passing{Prefix: sharing(1, 2)})
		go func() { time.Sleep(time.Second); b.Close() }()
		if _, err := b.Admit(t.Context(), Passing{Prefix: sharing(1, 3)}); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		leader.Done()
		if _, err := b.Admit(t.Context(), Passing{}); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}

// Whatever leaders do, each request ends once, none waits longer than MaxAge, and the
// model keeps nothing.
func TestEachAdmittedRequestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := passing(t)
		var ended atomic.Int64
		var wg sync.WaitGroup
		const n = 500
		for i := range int32(n) {
			wg.Go(func() {
				time.Sleep(rand.N(2 * time.Second))
				ctx, cancel := context.WithTimeout(t.Context(), rand.N(20*time.Second))
				defer cancel()
				began := time.Now()
				g, err := b.Admit(ctx, Passing{Prefix: sharing(i%5, i%40), Silent: i%3 == 0})
				if time.Since(began) > b.Settings().MaxAge {
					t.Error("waited too long")
				}
				ended.Add(1)
				if err != nil {
					return
				}
				defer g.Done()
				time.Sleep(rand.N(time.Second))
				if i%7 != 0 {
					g.Prefilled(Usage{})
				}
				time.Sleep(rand.N(time.Second))
			})
		}
		wg.Wait()
		b.Forget()
		if ended.Load() != n || len(b.passing.all) != 0 || b.model.Reserved() != 0 {
			t.Errorf("%d ended; %+v", ended.Load(), b.passing)
		}
	})
}

func TestWhatWasBelievedForLongIsVerifiedByOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := passing(t)
		first, _ := b.Admit(t.Context(), Passing{Prefix: sharing(1, 2)})
		first.Prefilled(Usage{})
		soon, _ := b.Admit(t.Context(), Passing{Prefix: sharing(1, 3)})
		soon.Prefilled(Usage{})
		if soon.Held != 0 {
			t.Errorf("held though its prefix was just computed: %+v", soon)
		}
		time.Sleep(time.Minute) // somebody may have emptied the cache
		leader, _ := b.Admit(t.Context(), Passing{Prefix: sharing(1, 4)})
		go func() { time.Sleep(time.Second); leader.Prefilled(Usage{}) }()
		follower, _ := b.Admit(t.Context(), Passing{Prefix: sharing(1, 5)})
		if leader.Role != Leader || follower.Role != Follower || follower.Held != time.Second {
			t.Errorf("%+v, %+v", leader, follower)
		}
		follower.Done()
	})
}

func TestOnlyWhatIsBatchedIsHeldIfTheSettingsSaySo(t *testing.T) {
	for share, role := range map[Share]Role{ShareAll: Leader, SharePrefill: Alone, ShareOff: Alone} {
		b := passing(t)
		s := DefaultSettings()
		s.Share = share
		if err := b.SetSettings(s); err != nil {
			t.Fatal(err)
		}
		g, err := b.Admit(t.Context(), Passing{Prefix: sharing(1, 2)})
		if err != nil || g.Role != role {
			t.Errorf("%v: %v, %v", share, g.Role, err)
		}
		g.Done()
	}
}
