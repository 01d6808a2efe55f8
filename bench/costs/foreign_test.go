//go:build !race

package costs

import (
	"encoding/json"
	"math/rand/v2"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"paceline/batcher"
	"paceline/batcher/prefix"
	"paceline/sglang/sim"
)

// visit is a state and the questions about it, as prompts that begin with the state.
type visit struct {
	state     prompt
	questions []prompt
}

// visits returns n visits of random states. Only their questions differ where two are of the
// same state.
func visits(random *rand.Rand, states, n int) []visit {
	draw := func(n int) (ids []int32) {
		for range n {
			ids = append(ids, 1000+random.Int32N(100_000))
		}
		return ids
	}
	about := make([][]int32, states)
	for i := range about {
		about[i] = draw(1024)
	}
	all := make([]visit, n)
	for i := range all {
		state := about[i%states]
		if n > states {
			state = about[random.IntN(states)]
		}
		all[i].state = newPrompt(state, "")
		for range 8 {
			all[i].questions = append(all[i].questions, newPrompt(slices.Concat(state, draw(60)), ""))
		}
	}
	return all
}

// reader reads what is asked about a state, as the proxy does on one of its paths.
type reader func(t *testing.T, s *sim.Server, b *batcher.Batcher[prompt, usage], v visit)

func counts(u usage) batcher.Usage {
	return batcher.Usage{PromptTokens: u.Meta.PromptTokens, CachedTokens: u.Meta.CachedTokens}
}

// lists sends the questions through the queue.
func lists(t *testing.T, _ *sim.Server, b *batcher.Batcher[prompt, usage], v visit) {
	var wg sync.WaitGroup
	for _, p := range v.questions {
		wg.Go(func() {
			if _, _, err := b.Submit(t.Context(), batcher.Item[prompt]{
				Value: p, Bytes: 4 * len(p.tokens), Tokens: len(p.tokens), Prefix: prefix.OfTokens(p.tokens, ""),
			}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// generation passes the questions on as requests whose prefill is seen to end.
func generation(t *testing.T, s *sim.Server, b *batcher.Batcher[prompt, usage], v visit) {
	var wg sync.WaitGroup
	for _, p := range v.questions {
		wg.Go(func() {
			g, err := b.Admit(t.Context(), batcher.Passing{Prefix: prefix.OfTokens(p.tokens, "")})
			if err != nil {
				t.Error(err)
				return
			}
			g.Prefilled(counts(generate(t, s, "input_ids", false, p.ids)[0]))
			g.Done()
		})
	}
	wg.Wait()
}

// readScores passes on all questions in one request, whose answer has no counts. Before it, a
// leader has the state read.
func readScores(t *testing.T, s *sim.Server, b *batcher.Batcher[prompt, usage], v visit) {
	g, err := b.Admit(t.Context(), batcher.Passing{Prefix: prefix.OfTokens(v.state.tokens, "")})
	if err != nil {
		t.Error(err)
		return
	}
	if g.Role == batcher.Leader {
		g.Prefilled(counts(generate(t, s, "input_ids", false, v.state.ids)[0]))
	}
	whole(t, s, v)
	g.Prefilled(batcher.Usage{})
	g.Done()
}

// perfect reads the state before all else, so that nothing is computed twice.
func perfect(t *testing.T, s *sim.Server, _ *batcher.Batcher[prompt, usage], v visit) {
	generate(t, s, "input_ids", false, v.state.ids)
	whole(t, s, v)
}

func whole(t *testing.T, s *sim.Server, v visit) {
	var ids []json.RawMessage
	for _, p := range v.questions {
		ids = append(ids, p.ids)
	}
	generate(t, s, "input_ids", true, ids...)
}

// readAll has four callers read the visits in turn, each after a pause.
func readAll(t *testing.T, s *sim.Server, b *batcher.Batcher[prompt, usage], all []visit, pause time.Duration, read reader) {
	var wg sync.WaitGroup
	for caller := range 4 {
		wg.Go(func() {
			for i := caller; i < len(all); i += 4 {
				time.Sleep(pause)
				read(t, s, b, all[i])
			}
		})
	}
	wg.Wait()
}

// sendOthers sends ten prompts a second straight to SGLang until over is closed.
func sendOthers(t *testing.T, s *sim.Server, over <-chan struct{}) {
	random := rand.New(rand.NewPCG(2, 0)) //nolint:gosec // no secret
	for {
		select {
		case <-over:
			return
		case <-time.After(100 * time.Millisecond):
			generate(t, s, "input_ids", false, visits(random, 1, 1)[0].state.ids)
		}
	}
}

// computed runs a simulated H100 with a cache of so many tokens and a batcher before it, in
// virtual time, and returns how many tokens run makes it compute.
func computed(t *testing.T, cache int, run func(t *testing.T, s *sim.Server, b *batcher.Batcher[prompt, usage])) (tokens int64) {
	synctest.Test(t, func(t *testing.T) {
		p := h100()
		p.KVCacheTokens = cache
		s, err := sim.New(sim.Options{Profile: p})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		b, err := batcher.New(sender{t, s}, batcher.DefaultSettings())
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		b.SetServer(batcher.Server{CacheTokens: cache, ForwardTokens: 8192})
		run(t, s, b)
		tokens = s.Stats().UncachedTokens
	})
	return tokens
}

// flush empties the cache, as a call straight to SGLang does.
func flush(t *testing.T, s *sim.Server) {
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", "/flush_cache", nil))
	if w.Code != 200 {
		t.Errorf("flush: %d %s", w.Code, w.Body)
	}
}

// ways are the paths through the proxy.
var ways = map[string]reader{"lists": lists, "generation": generation, "scores": readScores}

// maxWaste is the max of computed tokens ÷ those that a perfect model would make SGLang compute.
const maxWaste = 1.10

func TestAfterAForeignFlushEachStateIsReadOnce(t *testing.T) {
	const states, fewest = 24, 24 * (1024 + 8*60)
	once := visits(rand.New(rand.NewPCG(1, 0)), states, states) //nolint:gosec // no secret
	for name, read := range ways {
		for _, later := range []time.Duration{0, 20 * time.Second} {
			var first int64
			all := computed(t, 950_000, func(t *testing.T, s *sim.Server, b *batcher.Batcher[prompt, usage]) {
				readAll(t, s, b, once, 0, read)
				first = s.Stats().UncachedTokens
				flush(t, s)
				time.Sleep(later)
				readAll(t, s, b, once, 0, read)
			})
			waste := float64(all-first) / fewest
			t.Logf("%s, %v after the flush: computed ÷ fewest %.3f", name, later, waste)
			if waste > maxWaste {
				t.Errorf("%s, %v after the flush: computed ÷ fewest is %.3f, want at most %v", name, later, waste, maxWaste)
			}
		}
	}
}

func TestWhereOthersEvictEachStateIsReadOnce(t *testing.T) {
	const states, n = 96, 300
	const cache = states * (1024 + 8*60) / 4
	for _, pause := range []time.Duration{0, 300 * time.Millisecond} {
		by := func(read reader) float64 {
			return float64(computed(t, cache, func(t *testing.T, s *sim.Server, b *batcher.Batcher[prompt, usage]) {
				over := make(chan struct{})
				var others sync.WaitGroup
				others.Go(func() { sendOthers(t, s, over) })
				readAll(t, s, b, visits(rand.New(rand.NewPCG(3, 0)), states, n), pause, read) //nolint:gosec // no secret
				close(over)
				others.Wait()
			}))
		}
		best := by(perfect)
		for name, read := range ways {
			waste := by(read) / best
			t.Logf("%s, a pause of %v: computed ÷ perfect %.3f", name, pause, waste)
			if waste > maxWaste {
				t.Errorf("%s, a pause of %v: computed ÷ perfect is %.3f, want at most %v", name, pause, waste, maxWaste)
			}
		}
	}
}

// Questions/s about states that are all cached, and were not used for a minute.
func TestDoubtCostsWarmCallersLittle(t *testing.T) {
	const states = 100
	once := visits(rand.New(rand.NewPCG(1, 0)), states, states) //nolint:gosec // no secret
	for name, read := range ways {
		computed(t, 950_000, func(t *testing.T, s *sim.Server, b *batcher.Batcher[prompt, usage]) {
			timed := func() float64 {
				began := time.Now()
				readAll(t, s, b, once, 0, read)
				return 8 * states / time.Since(began).Seconds()
			}
			timed()
			lately := timed()
			time.Sleep(time.Minute)
			doubted := timed()
			t.Logf("%s: %.0f questions/s, and %.0f after a minute", name, lately, doubted)
			if doubted < 0.85*lately {
				t.Errorf("%s: %.0f questions/s after a minute, and %.0f without a pause", name, doubted, lately)
			}
		})
	}
}
