package batcher

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"paceline/batcher/prefix"
)

// names makes the prefix of a prompt of letters, one for each block: "ab" and "ac" share
// their first block.
func names(prompt string) prefix.Prefix {
	var p prefix.Prefix
	for i := range prompt {
		var name uint64
		for _, c := range prompt[:i+1] {
			name = name<<8 | uint64(c)
		}
		p = append(p, name)
	}
	return p
}

// cacheServer answers batches after 50 ms, and caches as SGLang does: prompts of one list
// share nothing with each other, and answered prompts are cached.
type cacheServer struct {
	mu       sync.Mutex
	released [][]string // the prompts of each batch
	seen     map[string]bool
	computed int // blocks
	shared   int // tokens, as released
}

func (c *cacheServer) Send(_ context.Context, b *Batch[string, string]) []Result[string] {
	var prompts []string
	c.mu.Lock()
	cached := make([]int, b.Size)
	c.shared += b.Shared
	for i := range b.Size {
		p := b.Value(i)
		prompts = append(prompts, p)
		for cached[i] < len(p) && c.seen[p[:cached[i]+1]] {
			cached[i]++
		}
		c.computed += len(p) - cached[i]
	}
	c.released = append(c.released, prompts)
	c.mu.Unlock()
	time.Sleep(50 * time.Millisecond)
	c.mu.Lock()
	for _, p := range prompts {
		for i := range p {
			c.seen[p[:i+1]] = true
		}
	}
	c.mu.Unlock()
	results := make([]Result[string], len(prompts))
	for i, p := range prompts {
		results[i] = Result[string]{
			Value: strings.ToUpper(p),
			Usage: Usage{PromptTokens: len(p) * prefix.BlockTokens, CachedTokens: cached[i] * prefix.BlockTokens},
		}
	}
	return results
}

func serve(t *testing.T, change func(*Settings)) (*Batcher[string, string], *cacheServer) {
	t.Helper()
	c := &cacheServer{seen: map[string]bool{}}
	s := DefaultSettings()
	s.BatchSize, s.MaxInFlight, s.MergeIdentical = 4, 1, false
	if change != nil {
		change(&s)
	}
	b, err := New(c, s)
	if err != nil {
		t.Fatal(err)
	}
	return b, c
}

func promptOf(prompt string) Item[string] {
	return Item[string]{Value: prompt, Bytes: len(prompt) * prefix.BlockBytes, Tokens: len(prompt) * prefix.BlockTokens, Prefix: names(prompt)}
}

// sendAll sends requests in order, at the same time, and waits for all outcomes.
func sendAll(t *testing.T, b *Batcher[string, string], requests ...Item[string]) {
	t.Helper()
	var wg sync.WaitGroup
	for _, r := range requests {
		wg.Go(func() {
			got, _, err := b.Submit(context.Background(), r)
			if err != nil || got != strings.ToUpper(r.Value) {
				t.Errorf("%q: %q, %v", r.Value, got, err)
			}
		})
		synctest.Wait()
	}
	wg.Wait()
}

func promptsOf(prompts string) []Item[string] {
	var all []Item[string]
	for p := range strings.FieldsSeq(prompts) {
		all = append(all, promptOf(p))
	}
	return all
}

func (c *cacheServer) order() string {
	var all []string
	for _, b := range c.released {
		all = append(all, strings.Join(b, " "))
	}
	return strings.Join(all, " | ")
}

func TestOneOfThoseWhoShareANewPrefixGoesFirstAndTheOthersAfterItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := serve(t, nil)
		defer b.Close()
		sendAll(t, b, promptsOf("xa xb xc yd xe")...)
		if got, want := c.order(), "xa yd | xb xc xe"; got != want {
			t.Errorf("released %q, want %q", got, want)
		}
		if c.computed != 7 { // x, a, y, d, b, c, e
			t.Errorf("%d blocks computed of 7 different ones", c.computed)
		}
	})
}

func TestABatchTellsTheTokensThatALeaderHadReadForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := serve(t, nil)
		defer b.Close()
		sendAll(t, b, promptsOf("xa")...) // x and a are cached now
		sendAll(t, b, promptsOf("xyb xyc xyd xz")...)
		if want := 2 * prefix.BlockTokens; c.shared != want { // y, for two that waited for it
			t.Errorf("%d tokens shared, want %d; released %q", c.shared, want, c.order())
		}
	})
}

func TestWithoutSharingRequestsGoInOrderOfArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := serve(t, func(s *Settings) { s.Share = ShareOff })
		defer b.Close()
		sendAll(t, b, promptsOf("xa xb xc yd xe")...)
		if got, want := c.order(), "xa xb xc yd | xe"; got != want {
			t.Errorf("released %q, want %q", got, want)
		}
	})
}

func TestTheQueueIsWalkedInDepthThroughWhatIsCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := serve(t, func(s *Settings) { s.BatchSize = 2 })
		defer b.Close()
		sendAll(t, b, promptsOf("x y xa ya")...)
		c.released = nil
		sendAll(t, b, promptsOf("xa1 ya1 xa2 ya2 xb1 yb1")...)
		if got, want := c.order(), "xa1 ya1 | xa2 xb1 | ya2 yb1"; got != want {
			t.Errorf("released %q, want %q", got, want)
		}
	})
}

func TestBranchesThatWereBegunAreEndedBeforeNewOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := serve(t, func(s *Settings) { s.BatchSize = 2 })
		defer b.Close()
		sendAll(t, b, promptsOf("s")...)
		c.released = nil
		sendAll(t, b, promptsOf("sa sb sc sab sbb scb")...)
		if got, want := c.order(), "sa sb | sbb sab | sc | scb"; got != want {
			t.Errorf("released %q, want %q", got, want)
		}
	})
}

// The server holds one conversation and a half.
func TestABranchThatHasNoRoomInTheCacheWaitsForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := serve(t, nil)
		defer b.Close()
		b.SetServer(Server{CacheTokens: 6 * prefix.BlockTokens})
		sendAll(t, b, promptsOf("a b abc bcd abcd bcde")...)
		if got, want := c.order(), "a | abc | abcd b | bcd | bcde"; got != want {
			t.Errorf("released %q, want %q", got, want)
		}
	})
}

func TestHeldRequestsGoWhenTheirLeaderFailsOrIsGivenUp(t *testing.T) {
	for _, how := range []string{"fails", "given up"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bad := errors.New("bad")
				var released atomic.Int32
				sender := sendFunc[string, string](func(ctx context.Context, b *Batch[string, string]) []Result[string] {
					number := released.Add(1)
					select {
					case <-time.After(time.Second):
					case <-ctx.Done():
						return failed(b, ctx.Err())
					}
					if number == 1 {
						return failed(b, bad)
					}
					b.Answer(0, Result[string]{})
					return nil
				})
				s := DefaultSettings()
				s.MaxInFlight = 4
				b, err := New(sender, s)
				if err != nil {
					t.Fatal(err)
				}
				defer b.Close()
				ctx, leave := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				wg.Go(func() {
					if _, _, err := b.Submit(ctx, promptOf("xa")); !errors.Is(err, bad) && !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
				})
				time.Sleep(10 * time.Millisecond)
				wg.Go(func() {
					if _, _, err := b.Submit(t.Context(), promptOf("xb")); err != nil {
						t.Error(err)
					}
				})
				time.Sleep(100 * time.Millisecond)
				if st := b.Stats(); st.Held != 1 || released.Load() != 1 {
					t.Fatalf("%d held, %d released", st.Held, released.Load())
				}
				if how == "given up" {
					leave()
				}
				wg.Wait()
				leave()
			})
		})
	}
}

func TestWhatWasCachedIsForgottenOnFlushAndOnContradiction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := serve(t, nil)
		defer b.Close()
		sendAll(t, b, promptsOf("xa")...)
		flush := func() { c.mu.Lock(); clear(c.seen); c.released = nil; c.mu.Unlock() }
		flush()
		b.Forget()
		sendAll(t, b, promptsOf("xb xc")...)
		if got, want := c.order(), "xb | xc"; got != want {
			t.Errorf("after a flush that was told: %q, want %q", got, want)
		}
		flush()
		sendAll(t, b, promptsOf("xd xe")...) // believed cached, and computed twice: this tells
		sendAll(t, b, promptsOf("y")...)
		if got, want := c.order(), "xd xe | y"; got != want {
			t.Errorf("after a flush that was not: %q, want %q", got, want)
		}
		if st := b.Stats(); st.CachedBlocks != 4 { // x, d, e and y: what was older is thought gone
			t.Errorf("%d blocks believed cached", st.CachedBlocks)
		}
	})
}

func TestTheModelKeepsToItsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := serve(t, func(s *Settings) { s.PrefixBlocks = 5 })
		defer b.Close()
		for i := range 10 {
			sendAll(t, b, promptOf(fmt.Sprintf("%c%c", 'a'+i, 'A'+i)))
		}
		if st := b.Stats(); st.CachedBlocks != 5 {
			t.Errorf("%d blocks, want 5", st.CachedBlocks)
		}
		b.SetServer(Server{CacheTokens: 3 * prefix.BlockTokens})
		if st := b.Stats(); st.CachedBlocks != 3 {
			t.Errorf("%d blocks, want as many as the server holds", st.CachedBlocks)
		}
	})
}

func TestAHeldRequestGoesOnceItIsTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		block := make(chan struct{})
		sender := sendFunc[string, string](func(_ context.Context, b *Batch[string, string]) []Result[string] {
			if b.Value(0) == "xa" {
				<-block
			}
			for i := range b.Size {
				b.Answer(i, Result[string]{})
			}
			return nil
		})
		s := DefaultSettings()
		s.MaxAge = 3 * time.Second
		b, err := New(sender, s)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		var wg sync.WaitGroup
		wg.Go(func() { _, _, _ = b.Submit(t.Context(), promptOf("xa")) })
		time.Sleep(time.Second)
		_, receipt, err := b.Submit(t.Context(), promptOf("xb"))
		if err != nil || receipt.QueueWait != 3*time.Second {
			t.Errorf("waited %v (%v), want the age limit of 3s", receipt.QueueWait, err)
		}
		close(block)
		wg.Wait()
	})
}

func TestCallersAreServedByTheirWeightInTokensComputed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := serve(t, func(s *Settings) { s.BatchSize = 1; s.MaxAge = time.Hour })
		defer b.Close()
		var all []Item[string]
		item := func(caller string, weight float64, i int) Item[string] {
			r := promptOf(fmt.Sprintf("%s%d", caller, i))
			r.Caller, r.Weight, r.Prefix = caller, weight, nil
			return r
		}
		for i := range 40 { // the flood comes first
			all = append(all, item("f", 1, i))
		}
		for i := range 20 {
			all = append(all, item("h", 3, i))
		}
		sendAll(t, b, all...)
		count := map[byte]int{}
		for _, batch := range c.released[1:21] {
			count[batch[0][0]]++
		}
		if count['h'] < 14 || count['h'] > 16 {
			t.Errorf("of 20 released beside a flood %d are of the caller of weight 3, want 15", count['h'])
		}
	})
}
