// Package calibrate measures the costs of a running SGLang and fits the simulator's cost model to
// them. Read Run first.
//
// On a CPU, one call is in flight at a time, and the server's own account (/v1/loads) says how long its device was
// busy with the call. The rest of the call's time is the front end's:
//
//	busy = forwards·ForwardSeconds + prompts·ScheduleSeconds + uncached tokens·TokenSeconds + squares of tokens·AttentionSeconds
//	rest = CallSeconds + prompts·RequestSeconds + bytes of text·TokenizeSecondsPerByte
//
// All numbers are at least 0. The fit uses relative errors, so short calls count as much as long ones.
// At the end, two callers measure how much longer the device takes while the front end works for other
// calls (Contention).
package calibrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
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

	Busy, Rest, Whole stats.Summary // relative errors of the fits, over all calls
	Contended         stats.Summary // relative errors of the time the device is busy with two callers
}

// String describes the fit in a few lines.
func (r Result) String() string {
	p := r.Profile
	off := func(s stats.Summary) string {
		return fmt.Sprintf("%.0f %% on average, %.0f %% at the 90th percentile, %.0f %% at the worst", 100*s.Mean, 100*s.P90, 100*s.Max)
	}
	if p.LaunchSeconds > 0 {
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
	return fmt.Sprintf(`%d calls of %s on %s, one at a time, fitted:
  call      %8.3f ms + %.3f ms a prompt + %.3f us a byte of text   off by %s
  forward   %8.3f ms + %.3f ms a prompt + %.3f us a new token + %.3f ns a prompt's tokens squared   off by %s
  a whole call is off by %s
  with two callers a forward takes %.2f s longer for each second of the front end's   off by %s
`, r.Calls, p.Model, strings.TrimSuffix(p.Device, simulated),
		1e3*p.CallSeconds, 1e3*p.RequestSeconds, 1e6*p.TokenizeSecondsPerByte, off(r.Rest),
		1e3*p.ForwardSeconds, 1e3*p.ScheduleSeconds, 1e6*p.TokenSeconds, 1e9*p.AttentionSeconds, off(r.Busy),
		off(r.Whole), p.Contention, off(r.Contended))
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
	prompts                            int
	forwards, uncached, bytes, squares float64 // squares of the prompts' tokens, summed
	busy, whole                        float64 // seconds
}

// accountTimeout bounds how long the server's account may take to include a call.
const accountTimeout = 5 * time.Second

// Server is the part of *sglang.Client that Run needs.
type Server interface {
	ServerInfo(context.Context) (sglang.ServerInfo, error)
	Loads(context.Context) (sglang.Load, error)
	FlushCache(context.Context, time.Duration) error
	Generate(context.Context, sglang.Call) ([]sglang.Result, error)
}

// Run measures and fits. It empties the server's cache and needs the server for itself, because it
// would count other work as its own. It fails if it notices other work.
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
	if err := c.FlushCache(ctx, accountTimeout); err != nil {
		return Result{}, fmt.Errorf("flush the cache: %w", err)
	}
	if !strings.Contains(strings.ToLower(info.Device), "cpu") {
		return r.overlapped(ctx, o)
	}
	shapes := r.shapes(o.Repeats)
	var calls []call
	for i, s := range shapes {
		m, err := r.measure(ctx, s)
		if err != nil {
			return Result{}, fmt.Errorf("%d prompts of %d new and %d cached tokens: %w", s.prompts, s.tokens, s.cached, err)
		}
		if i > 0 { // the first pays for connections and lazy initialization
			calls = append(calls, m)
		}
		if o.Progress != nil {
			o.Progress(i+1, len(shapes))
		}
	}
	result := r.fit(calls, o)
	return result, r.contention(ctx, &result)
}

// runner makes the calls.
type runner struct {
	client Server
	info   sglang.ServerInfo
	random *rand.Rand

	maxTokens int // tokens of a prompt
}

// shapes returns the calls to make, in random order.
func (r *runner) shapes(repeats int) []shape {
	var all []shape
	for range repeats {
		for _, prompts := range []int{1, 2, 4, 8, 16} {
			for _, part := range []int{64, 8, 2, 1} { // of the longest prompt
				tokens := r.maxTokens / part
				if prompts*r.maxTokens > r.info.MaxTotalNumTokens/2 && r.info.MaxTotalNumTokens > 0 {
					continue // would evict itself
				}
				all = append(all, shape{prompts: prompts, tokens: tokens})
				if prompts == 1 { // with more texts, some are computed while others are tokenized
					all = append(all, shape{prompts: prompts, tokens: tokens, text: true})
				}
				if cached := r.maxTokens - tokens; cached > tokens {
					all = append(all, shape{prompts: prompts, tokens: tokens, cached: cached})
				}
			}
		}
	}
	r.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return append([]shape{{prompts: 1, tokens: r.maxTokens / 8}}, all...)
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

// measure measures one call.
func (r *runner) measure(ctx context.Context, s shape) (call, error) {
	requests := r.prompts(s)
	if s.cached > 0 { // one call for each, so that all are cached
		for _, q := range requests {
			q.InputIDs = q.InputIDs[:s.cached]
			if _, _, err := r.send(ctx, [][]sglang.Request{{q}}, 1); err != nil {
				return call{}, err
			}
		}
	}
	calls, busy, err := r.send(ctx, [][]sglang.Request{requests}, 1)
	if err != nil {
		return call{}, err
	}
	m := calls[0]
	m.busy, m.forwards = busy, math.Ceil(m.uncached/float64(r.forwardTokens()))
	return m, nil
}

// send lets callers make calls, each one call at a time, and returns what was measured of each
// and the seconds that the device was busy with them.
func (r *runner) send(ctx context.Context, batches [][]sglang.Request, callers int) ([]call, float64, error) {
	before, err := r.client.Loads(ctx)
	if err != nil {
		return nil, 0, err
	}
	calls, errs := make([]call, len(batches)), make([]error, callers)
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for i := caller; i < len(batches) && errs[caller] == nil; i += callers {
				calls[i], errs[caller] = r.call(ctx, batches[i])
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, 0, err
	}
	var uncached float64
	for _, c := range calls {
		uncached += c.uncached
	}
	busy, err := r.account(ctx, before, int64(uncached))
	return calls, busy, err
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

// account waits until the server's account includes the tokens of the calls. It returns the seconds
// that the server was busy with them.
func (r *runner) account(ctx context.Context, before sglang.Load, tokens int64) (float64, error) {
	for end := time.Now().Add(accountTimeout); ; {
		now, err := r.client.Loads(ctx)
		if err != nil {
			return 0, err
		}
		switch got := now.TotalPrefillUncachedTokens - before.TotalPrefillUncachedTokens; {
		case got > tokens:
			return 0, fmt.Errorf("the server computed %d tokens instead of %d: it has other work too", got, tokens)
		case got == tokens:
			return float64(now.TotalPrefillBusyMicros-before.TotalPrefillBusyMicros) / 1e6, nil
		case time.Now().After(end):
			return 0, fmt.Errorf("the server's account (/v1/loads) holds %d tokens of %d after %v; SGLang keeps one from 0.5.17 on",
				got, tokens, accountTimeout)
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			return 0, errors.New("interrupted")
		}
	}
}

// The amount of work measured with two callers.
const callers, contentionRounds, contentionCalls = 2, 3, 24

// contention lets two callers send texts, new and cached ones, and fits the time that the device needs
// beyond that of the same calls alone.
func (r *runner) contention(ctx context.Context, result *Result) error {
	p := &result.Profile
	var alone, front, busy []float64 // seconds of each round
	var excess, fronts float64
	for range contentionRounds {
		var batches [][]sglang.Request
		for _, q := range r.prompts(shape{prompts: contentionCalls, tokens: r.maxTokens, text: true}) {
			batches = append(batches, []sglang.Request{q})
		}
		for range 2 { // new, then cached
			calls, b, err := r.send(ctx, batches, callers)
			if err != nil {
				return fmt.Errorf("two callers: %w", err)
			}
			var a, f float64
			for _, c := range calls {
				a += p.ForwardSeconds + p.ScheduleSeconds + c.uncached*p.TokenSeconds + c.squares*p.AttentionSeconds
				f += p.CallSeconds + p.RequestSeconds + c.bytes*p.TokenizeSecondsPerByte
			}
			alone, front, busy = append(alone, a), append(front, f), append(busy, b)
			excess, fronts = excess+b-a, fronts+f
		}
	}
	if fronts > 0 {
		p.Contention = max(0, excess/fronts)
	}
	var off []float64
	for i, b := range busy {
		fitted := alone[i] + min(alone[i], p.Contention*front[i])
		off = append(off, math.Abs(fitted-b)/max(minSeconds, b))
	}
	result.Contended = stats.Summarize(off)
	return nil
}

// minSeconds is the shortest time that counts as measured, in seconds.
const minSeconds = 1e-5

func (r *runner) fit(calls []call, o Options) Result {
	var device, front, both [][]float64
	var busy, rest, whole []float64
	for _, c := range calls {
		prompts := float64(c.prompts)
		front = append(front, []float64{1, prompts, c.bytes})
		rest = append(rest, max(minSeconds, c.whole-c.busy))
		both = append(both, []float64{c.forwards, prompts, c.uncached, c.squares, 1, prompts, c.bytes})
		whole = append(whole, max(minSeconds, c.whole))
		device = append(device, []float64{c.forwards, prompts, c.uncached, c.squares})
		busy = append(busy, max(minSeconds, c.busy))
	}
	d, f := stats.LeastSquares(device, busy), stats.LeastSquares(front, rest)
	result := Result{
		Calls: len(calls), Busy: stats.Summarize(stats.RelativeErrors(device, busy, d)),
		Rest:  stats.Summarize(stats.RelativeErrors(front, rest, f)),
		Whole: stats.Summarize(stats.RelativeErrors(both, whole, slices.Concat(d, f))),
	}
	p := r.profile(o)
	p.Origin += fmt.Sprintf("by %d calls, one at a time, of 1 to 16 prompts of up to %d tokens: whole calls are off by %.0f %% on average, "+
		"%.0f %% at the worst", len(calls), o.Tokens, 100*result.Whole.Mean, 100*result.Whole.Max)
	p.ForwardSeconds, p.ScheduleSeconds, p.TokenSeconds, p.AttentionSeconds = d[0], d[1], d[2], d[3]
	p.CallSeconds, p.RequestSeconds, p.TokenizeSecondsPerByte = f[0], f[1], f[2]
	result.Profile = p
	return result
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
