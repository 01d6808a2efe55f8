// Package calibrate measures the costs of a running SGLang and fits the simulator's cost model to
// them. Read Run first, then overlap.go, which says what is measured and how it adds up.
package calibrate

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"paceline/loadgen/stats"
	"paceline/loadgen/trajectory"
	"paceline/sglang"
	"paceline/sglang/sim"
)

// Options are the options of Run.
type Options struct {
	Name      string // of the profile
	Repeats   int    // calls of each shape, in random order
	Tokens    int    // longest prompt
	VocabSize int    // of the profile; 0: from the server or its model's folder, or else 151936
	Seed      uint64

	// Progress is called after each call, if it is not nil.
	Progress func(done, all int)
}

// Result is a fitted profile and how well it fits.
type Result struct {
	Profile sim.Profile
	Calls   int

	Whole stats.Summary // relative errors of calls that were not fitted
}

// String describes the fit in a few lines.
func (r Result) String() string {
	p := r.Profile
	off := func(s stats.Summary) string {
		return fmt.Sprintf("%.0f %% on average, %.0f %% at the 90th percentile, %.0f %% at the worst", 100*s.Mean, 100*s.P90, 100*s.Max)
	}
	return fmt.Sprintf(`%s on %s, by the clock:
  call      %8.3f ms + %.3f ms a list + %.3f ms a prompt + %.3f us a byte of text
  launch    %8.3f ms + %.3f ms a prompt + %.3f ms divided by the prompts
  forward   %8.3f ms + %.3f us a new token + %.3f ns a prompt's tokens squared; CUDA graphs: %t
  calls that were not fitted are off by %s
`, p.Model, strings.TrimSuffix(p.Device, simulated),
		1e3*p.CallSeconds, 1e3*p.ListSeconds, 1e3*p.RequestSeconds, 1e6*p.TokenizeSecondsPerByte,
		1e3*p.LaunchSeconds, 1e3*p.ScheduleSeconds, 1e3*p.AloneSeconds,
		1e3*p.ForwardSeconds, 1e6*p.TokenSeconds, 1e9*p.AttentionSeconds, p.PrefillGraphs, off(r.Whole))
}

// shape is the content of one call.
type shape struct {
	prompts int
	tokens  int  // new ones in each prompt
	cached  int  // cached ones in each prompt
	text    bool // sent as text, not as ids
}

// call is the measurement of one call.
type call struct {
	prompts                  int
	uncached, bytes, squares float64 // squares of the prompts' tokens, summed
	whole                    float64 // seconds
}

// flushTimeout bounds how long the server may take to finish what it runs before it empties its cache.
const flushTimeout = 5 * time.Second

// Server is the part of *sglang.Client that Run needs.
type Server interface {
	ServerInfo(context.Context) (sglang.ServerInfo, error)
	FlushCache(context.Context, time.Duration) error
	Generate(context.Context, sglang.Call) ([]sglang.Result, error)
}

// Run measures and fits. It empties the server's cache and needs the server for itself: other work would be
// taken for its own.
func Run(ctx context.Context, c Server, o Options) (Result, error) {
	info, err := c.ServerInfo(ctx)
	if err != nil {
		return Result{}, err
	}
	random := rand.New(rand.NewPCG(o.Seed, 0)) //nolint:gosec // no secret
	r := &runner{client: c, info: info, random: random, maxTokens: o.Tokens}
	if n := info.MaxReqInputLen; n > 0 {
		r.maxTokens = min(o.Tokens, n-1) // a prompt of n tokens is refused
	}
	if err := c.FlushCache(ctx, flushTimeout); err != nil {
		return Result{}, fmt.Errorf("flush the cache: %w", err)
	}
	return r.overlapped(ctx, o)
}

// runner makes the calls.
type runner struct {
	client Server
	info   sglang.ServerInfo
	random *rand.Rand

	maxTokens int // tokens of a prompt
}

// Ids that every vocabulary has and that are no single bytes.
const firstID, ids = 1000, 20_000

// prompts returns prompts that share nothing new.
func (r *runner) prompts(s shape) []sglang.Request {
	all := make([]sglang.Request, s.prompts)
	for i := range all {
		if s.text {
			all[i].Text = r.text(bytesOfToken * s.tokens)
			continue
		}
		for range s.cached + s.tokens {
			all[i].InputIDs = append(all[i].InputIDs, firstID+r.random.Int32N(ids))
		}
	}
	return all
}

// text returns about n bytes of problem statements with a unique beginning.
func (r *runner) text(n int) string {
	text := fmt.Sprintf("%x ", r.random.Uint64())
	for len(text) < n {
		text += trajectory.Generate(1, r.random.Uint64())[0].Problem + "\n\n"
	}
	return text[:n] // generated text is ASCII
}

func (r *runner) call(ctx context.Context, requests []sglang.Request) (call, error) {
	for i := range requests {
		requests[i].RID = sglang.NewRID()
	}
	start := time.Now()
	results, err := r.client.Generate(ctx, sglang.Call{Requests: requests})
	if err != nil {
		return call{}, err
	}
	m := call{prompts: len(requests), whole: time.Since(start).Seconds()}
	for i, one := range results {
		if one.Err != nil {
			return call{}, one.Err
		}
		tokens := float64(one.Answer.Meta.PromptTokens)
		m.uncached += tokens - float64(one.Answer.Meta.CachedTokens)
		m.bytes += float64(len(requests[i].Text))
		m.squares += tokens * tokens
	}
	return m, nil
}

// forwardTokens returns how many tokens one forward computes at most.
func (r *runner) forwardTokens() int {
	tokens := 16384
	for _, n := range []int{r.info.ChunkedPrefillSize, r.info.MaxPrefillTokens} {
		if n > 0 {
			tokens = min(tokens, n)
		}
	}
	return tokens
}

// profile returns a profile with all but the costs. Its origin goes on with how they were found.
func (r *runner) profile(o Options) sim.Profile {
	info := r.info
	p := sim.Profile{
		Name: o.Name, Device: strings.TrimSuffix(info.Device, simulated) + simulated, Model: info.ServedModelName,
		Origin:             fmt.Sprintf("fitted to SGLang %s ", info.Version),
		ChunkedPrefillSize: info.ChunkedPrefillSize, MaxPrefillTokens: info.MaxPrefillTokens,
		MaxRunningRequests: cmp.Or(info.MaxRunningRequests, manyRunning),
		KVCacheTokens:      info.MaxTotalNumTokens, ContextLength: info.MaxReqInputLen + contextReserve,
		VocabSize: cmp.Or(o.VocabSize, sglang.VocabSize(info), 151_936),
	}
	if info.ChunkedPrefillSize <= 0 { // chunking is off, and a forward has another bound
		p.ChunkedPrefillSize = max(1, info.MaxPrefillTokens, info.MaxTotalNumTokens)
	}
	if t := info.StartupTime; t != nil {
		p.LoadSeconds = t.LoadWeight
	}
	return p
}

// manyRunning is the least number of requests that SGLang runs at once where nobody sets it. An older one does not
// tell it (0.5.17).
const manyRunning = 2048

// simulated is the suffix of a profile's device.
const simulated = " (simulated)"

// contextReserve is how many positions SGLang keeps for itself (0.5.23).
const contextReserve = 6
