package batcher

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"paceline/batcher/prefix"
)

// TestNobodyWaitsForMoreThanItsShareOnceItIsTooOld drives a busy server with requests of
// several priorities, callers and prefixes, so that some would always go before others. It
// checks the bound of Settings.MaxAge.
func TestNobodyWaitsForMoreThanItsShareOnceItIsTooOld(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) { inBubble(t, rt, ageLaw) })
}

type journey struct{ accepted, released time.Time }

func ageLaw(t *rapid.T) {
	s := DefaultSettings()
	s.BatchSize = rapid.IntRange(1, 6).Draw(t, "batch_size")
	s.MaxInFlight = rapid.IntRange(1, 3).Draw(t, "max_in_flight")
	s.MaxAge = time.Duration(rapid.IntRange(10, 200).Draw(t, "max_age")) * time.Millisecond
	var (
		mu    sync.Mutex
		ways  = map[int]*journey{}
		order []int
	)
	sender := sendFunc[int, int](func(_ context.Context, b *Batch[int, int]) []Result[int] {
		mu.Lock()
		for i := range b.Size {
			order = append(order, b.Value(i))
			ways[b.Value(i)].released = time.Now()
		}
		mu.Unlock()
		time.Sleep(10 * time.Millisecond)
		for i := range b.Size {
			b.Answer(i, Result[int]{Usage: Usage{PromptTokens: 300, CachedTokens: 64}})
		}
		return nil
	})
	b, err := New(sender, s)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	b.SetServer(Server{CacheTokens: prefix.BlockTokens * rapid.IntRange(4, 40).Draw(t, "cache")})
	var wg sync.WaitGroup
	seed := rapid.Uint64().Draw(t, "seed")
	random := rand.New(rand.NewPCG(seed, 0))
	for v := range rapid.IntRange(20, 200).Draw(t, "requests") {
		priority := random.IntN(3)
		req := Item[int]{
			Value: v, Key: fmt.Sprint(priority), Priority: priority, Tokens: 300,
			Caller: string(rune('x' + random.IntN(2))), Weight: 1 + float64(priority),
		}
		for name := uint64(1); random.IntN(5) > 0 && len(req.Prefix) < 5; {
			name = 10*name + random.Uint64N(2)
			req.Prefix = append(req.Prefix, name)
		}
		req.Bytes = 10 + prefix.BlockBytes*len(req.Prefix)
		mu.Lock()
		ways[v] = &journey{accepted: time.Now()}
		mu.Unlock()
		wg.Go(func() {
			if _, _, err := b.Submit(context.Background(), req); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		time.Sleep(time.Duration(random.IntN(3000)) * time.Microsecond)
	}
	wg.Wait()

	for v, way := range ways {
		tooOld := way.accepted.Add(s.MaxAge)
		if !way.released.After(tooOld) {
			continue
		}
		before, meanwhile := 0, 0 // prompts that came before it and still waited; prompts released until it was
		for other, w := range ways {
			if other < v && w.released.After(tooOld) {
				before++
			}
			if w.released.After(tooOld) && !w.released.After(way.released) {
				meanwhile++
			}
		}
		// Batches that were filling, or are filled together with it, are whole.
		if limit := agedShare*(before+1) + 2*s.BatchSize; meanwhile > limit {
			t.Fatalf("request %d waited for %d prompts after %v; %d had come before it, so the limit is %d: %v",
				v, meanwhile, s.MaxAge, before, limit, order)
		}
	}
}
