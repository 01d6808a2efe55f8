package batcher

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// busy keeps so many callers asking until the time is over.
func busy(t *testing.T, b *Batcher[int, int], callers int, during time.Duration) {
	var wg sync.WaitGroup
	end := time.Now().Add(during)
	for range callers {
		wg.Go(func() {
			for time.Now().Before(end) {
				if _, _, err := b.Submit(t.Context(), Request[int]{Tokens: 100}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func auto(t *testing.T, dispatch Dispatch[int, int]) *Batcher[int, int] {
	t.Helper()
	s := DefaultSettings()
	s.Mode = ModeAuto
	b, err := New(dispatch, s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func answerAll(b *Batch[int, int]) {
	for i := range b.Len() {
		b.Answer(i, 0, Usage{PromptTokens: 100})
	}
}

// after is a server that answers each batch after the same time.
func after(d time.Duration) Dispatch[int, int] {
	return func(_ context.Context, b *Batch[int, int]) error {
		time.Sleep(d)
		answerAll(b)
		return nil
	}
}

// inTurn is a server that serves one batch after the other.
func inTurn(perCall, perPrompt time.Duration) Dispatch[int, int] {
	one := make(chan struct{}, 1)
	return func(ctx context.Context, b *Batch[int, int]) error {
		one <- struct{}{}
		defer func() { <-one }()
		return after(perCall+time.Duration(b.Len())*perPrompt)(ctx, b)
	}
}

// A far away server answers each batch after the same time, however many it has.
func TestAutoFindsThatMoreInFlightDoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := auto(t, after(100*time.Millisecond))
		defer b.Close()
		b.SetServer(Server{ForwardTokens: 200}) // batches of 16, or the first two would carry everybody
		busy(t, b, 400, 5*time.Minute)
		if p := b.Stats().Plan; p.MaxInFlight < 5 {
			t.Errorf("%d in flight: %s", p.MaxInFlight, p.Why)
		}
	})
}

// A server that serves one batch after the other gains nothing by a third.
func TestAutoLeavesWhatDoesNotHelp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := auto(t, inTurn(20*time.Millisecond, 5*time.Millisecond))
		defer b.Close()
		busy(t, b, 100, 5*time.Minute)
		if p := b.Stats().Plan; p.MaxInFlight > autoInFlight {
			t.Errorf("%d in flight: %s", p.MaxInFlight, p.Why)
		}
	})
}

// A server that serves one call after the other, each at a cost of its own: two callers
// who come back together are served faster as one batch.
func TestAutoGathersFewCallersWhereACallIsDear(t *testing.T) {
	for _, c := range []struct {
		perCall, perPrompt time.Duration
		gathers            bool
	}{{20 * time.Millisecond, 5 * time.Millisecond, true}, {0, 20 * time.Millisecond, false}} {
		synctest.Test(t, func(t *testing.T) {
			b := auto(t, inTurn(c.perCall, c.perPrompt))
			defer b.Close()
			busy(t, b, 2, time.Minute)
			p := b.Stats().Plan
			if gathers := p.BatchSize == 2 && p.MaxInFlight == 1; gathers != c.gathers {
				t.Errorf("%v a call, %v a prompt: %s", c.perCall, c.perPrompt, p.Why)
			}
			busy(t, b, 40, time.Minute) // no longer few
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.tuner.gather.callers != 0 || b.tuner.gather.trial.running {
				t.Errorf("40 callers are gathered: %+v", b.tuner.gather)
			}
		})
	}
}

// Of callers who come now and then, as many as come are served, however they are batched.
func TestAutoGathersNobodyBeforeAServerThatIdles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := auto(t, after(10*time.Millisecond))
		defer b.Close()
		var wg sync.WaitGroup
		rng := rand.New(rand.NewPCG(1, 2))
		for range 5000 {
			time.Sleep(time.Duration(rng.ExpFloat64() * float64(15*time.Millisecond)))
			wg.Go(func() {
				if _, _, err := b.Submit(t.Context(), Request[int]{Tokens: 100}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if p := b.Stats().Plan; !strings.Contains(p.Why, "idles") || p.MaxInFlight == 1 {
			t.Error(p.Why)
		}
	})
}

func TestAutoGathersThoseNoLongerWhoNowComeSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := auto(t, inTurn(20*time.Millisecond, 0))
		defer b.Close()
		busy(t, b, 2, time.Minute)
		if p := b.Stats().Plan; !strings.Contains(p.Why, "one batch at a time") {
			t.Fatalf("two are not gathered: %s", p.Why)
		}
		for range 500 {
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(func() {
					if _, _, err := b.Submit(t.Context(), Request[int]{Tokens: 100}); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			time.Sleep(200 * time.Millisecond)
		}
		if p := b.Stats().Plan; strings.Contains(p.Why, "one batch at a time") {
			t.Errorf("still gathered: %s", p.Why)
		}
	})
}

func TestAutoSendsALoneRequestAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := auto(t, after(50*time.Millisecond))
		defer b.Close()
		for range 50 {
			if _, receipt, err := b.Submit(t.Context(), Request[int]{Tokens: 100}); err != nil || receipt.QueueWait != 0 {
				t.Fatalf("waited %v, %v", receipt.QueueWait, err)
			}
		}
	})
}

// forwards is a server that computes all it has been sent in one forward, then
// again. Two prompts in one forward share nothing; half of a prompt is shared by
// its pair.
type forwards struct {
	calls    chan *call
	perToken time.Duration
	computed map[int]bool // pairs whose shared half is cached
}

type call struct {
	batch *Batch[int, int]
	done  chan struct{}
}

const halfPair = 128 // tokens

func (f *forwards) dispatch(_ context.Context, b *Batch[int, int]) error {
	c := &call{b, make(chan struct{})}
	f.calls <- c
	<-c.done
	return nil
}

func (f *forwards) serve() {
	for c := range f.calls {
		together := []*call{c}
		time.Sleep(time.Millisecond)
		for more := true; more; {
			select {
			case c := <-f.calls:
				together = append(together, c)
			default:
				more = false
			}
		}
		tokens := 0
		for _, c := range together {
			for i := range c.batch.Len() {
				tokens += halfPair
				if !f.computed[c.batch.Value(i)] {
					tokens += halfPair
				}
			}
		}
		time.Sleep(20*time.Millisecond + time.Duration(tokens)*f.perToken)
		for _, c := range together {
			for i := range c.batch.Len() {
				u := Usage{PromptTokens: 2 * halfPair}
				if f.computed[c.batch.Value(i)] {
					u.CachedTokens = halfPair
				}
				c.batch.Answer(i, 0, u)
			}
		}
		for _, c := range together {
			for i := range c.batch.Len() {
				f.computed[c.batch.Value(i)] = true
			}
			close(c.done)
		}
	}
}

// A caller that waits for both prompts of a pair loses a forward where the second
// is held for the first, and saves half a prompt.
func TestAutoHoldsAFollowerOnlyWhereThatSavesMoreThanItCosts(t *testing.T) {
	for _, c := range []struct {
		perToken time.Duration
		held     bool
	}{{time.Millisecond, true}, {time.Microsecond, false}} {
		synctest.Test(t, func(t *testing.T) {
			f := &forwards{calls: make(chan *call), perToken: c.perToken, computed: map[int]bool{}}
			go f.serve()
			defer close(f.calls)
			b := auto(t, f.dispatch)
			defer b.Close()
			for pair := range 200 {
				var wg sync.WaitGroup
				for half := range uint64(2) {
					wg.Go(func() {
						r := Request[int]{Value: pair, Tokens: 2 * halfPair, Bytes: 4 * BlockBytes}
						for i := range uint64(4) {
							name := uint64(pair+1)<<8 | i
							if i >= 2 {
								name |= half << 4
							}
							r.Prefix = append(r.Prefix, name)
						}
						if _, _, err := b.Submit(t.Context(), r); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
			}
			if p := b.Stats().Plan; p.PrefixHold != c.held {
				t.Errorf("with %v a token: %+v", c.perToken, p)
			}
		})
	}
}
