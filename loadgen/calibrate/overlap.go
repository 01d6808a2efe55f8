package calibrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"paceline/loadgen/stats"
	"paceline/sglang"
	"paceline/sglang/sim"
)

// This file calibrates a server whose scheduler launches one forward while the device computes another. It uses the
// clock alone: such a server's own account counts the time from the launch of a forward to its result, so forwards
// that overlap count twice (sglang 0.5.17). Each measurement adds up other costs:
//
//	a lone call            call [+ list] + prompts·(request + schedule) + bytes·tokenize + the longer of launch and device
//	the device             forward + tokens of the graph·token + squares of tokens·attention
//	calls that queue       call [+ list] + prompts·request + bytes·tokenize, for the front end bounds them
//	two callers, one prompt each: both calls take call + request + 2·(schedule + launch + alone)

// The costs, as columns of the fit.
const (
	callCost = iota
	listCost
	requestCost
	scheduleCost
	launchCost
	aloneCost
	forwardCost
	tokenCost
	attentionCost
	tokenizeCost
	costs
)

// lone is a measured call that had the server to itself.
type lone struct {
	shape
	call
	heldOut bool // not for the fit but for its error
}

// row returns the costs of a lone call that launching bounds, or the device.
func (l lone) row(graphs, launched bool) []float64 {
	row := make([]float64, costs)
	k := float64(l.shape.prompts)
	row[callCost], row[requestCost], row[scheduleCost], row[tokenizeCost] = 1, k, k, l.bytes
	if k > 1 {
		row[listCost] = 1
	}
	if launched {
		row[launchCost], row[aloneCost] = 1, 1/k
	} else {
		row[forwardCost], row[tokenCost], row[attentionCost] = 1, l.device(graphs), l.squares
	}
	return row
}

// device returns the tokens that the device computes for a lone call.
func (l lone) device(graphs bool) float64 {
	return float64(sim.Profile{PrefillGraphs: graphs, ChunkedPrefillSize: math.MaxInt}.GraphTokens(int(l.uncached)))
}

// off returns how far the costs are from a lone call, relative to it: the longer of launch and device counts.
func (l lone) off(graphs bool, fitted []float64) float64 {
	sum := 0.0
	for _, launched := range []bool{true, false} {
		one := 0.0
		for i, times := range l.row(graphs, launched) {
			one += times * fitted[i]
		}
		sum = max(sum, one)
	}
	return math.Abs(sum-l.whole) / l.whole
}

// Amounts of work: what keeps the front end busy, for long enough that the clock's and the machine's own errors are small.
const (
	manyCallers, manyCalls   = 200, 1600
	listCallers, listCalls   = 4, 16
	listPrompts, listTokens  = 128, 256 // texts, or the scheduler might take longer than the front end
	bytesOfToken             = 4
	pairCalls                = 100
	repeatsOfLone            = 3          // for each of Options.Repeats
	graphBelow, graphAtMost  = 1040, 1270 // have the same graph, of 1280 tokens
	pool, own                = listPrompts, 64
	shareOfStepWithoutGraphs = 0.5
)

// overlapped measures and fits.
func (r *runner) overlapped(ctx context.Context, o Options) (Result, error) {
	if r.info.TokenizerWorkerNum > 1 { // nothing would keep all of them busy
		return Result{}, fmt.Errorf("the server has %d tokenizer processes: start it with --tokenizer-worker-num 1, "+
			"and set tokenizers in the profile", r.info.TokenizerWorkerNum)
	}
	n := min(r.maxTokens, r.forwardTokens()/4)
	cached, err := r.cachedPool(ctx, n)
	if err != nil {
		return Result{}, err
	}
	var all []lone
	shapes := []struct {
		shape
		heldOut bool
	}{
		{shape{prompts: 1, cached: n}, false}, {shape{prompts: 2, cached: n}, false},
		{shape{prompts: 16, cached: n}, false}, {shape{prompts: 32, cached: n}, false},
		{shape{prompts: 64, cached: n}, false}, {shape{prompts: 64, cached: n / 8}, false}, {shape{prompts: 32, cached: n / 8}, false},
		{shape{prompts: 1, tokens: n / 2}, false}, {shape{prompts: 1, tokens: n}, false}, {shape{prompts: 2, tokens: n}, false},
		{shape{prompts: 4, tokens: n}, false}, {shape{prompts: 1, cached: n, text: true}, false},
		{shape{prompts: 4, cached: n}, true}, {shape{prompts: 8, cached: n}, true}, {shape{prompts: 2, tokens: n / 2}, true},
	}
	var below, atMost float64
	if n >= graphAtMost {
		for _, m := range []struct {
			tokens int
			to     *float64
		}{{graphBelow, &below}, {graphAtMost, &atMost}} {
			l, err := r.lone(ctx, shape{prompts: 1, tokens: m.tokens}, cached, o.Repeats)
			if err != nil {
				return Result{}, err
			}
			*m.to = l.whole
		}
	}
	for i, s := range shapes {
		l, err := r.lone(ctx, s.shape, cached, o.Repeats)
		if err != nil {
			return Result{}, fmt.Errorf("%d prompts of %d new and %d cached tokens: %w", s.prompts, s.tokens, s.cached, err)
		}
		l.heldOut = s.heldOut
		all = append(all, l)
		if o.Progress != nil {
			o.Progress(i+1, len(shapes))
		}
	}
	texts := r.prompts(shape{prompts: listPrompts, tokens: listTokens, text: true})
	if _, err := r.call(ctx, texts); err != nil {
		return Result{}, err
	}
	var queues [3]float64 // seconds of a call: single ones of many callers, lists, single ones of two
	for i, q := range []struct {
		callers, calls int
		requests       []sglang.Request
	}{
		{manyCallers, manyCalls, cached[:1]}, {listCallers, listCalls, texts}, {2, pairCalls, cached[:1]},
	} {
		if queues[i], err = r.queue(ctx, q.callers, q.calls, q.requests); err != nil {
			return Result{}, fmt.Errorf("%d callers: %w", q.callers, err)
		}
	}
	p := r.profile(o)
	perToken := (slices.MaxFunc(all, func(a, b lone) int { return int(a.uncached - b.uncached) }).whole) / float64(4*n)
	p.PrefillGraphs = n >= graphAtMost && atMost-below < shareOfStepWithoutGraphs*perToken*(graphAtMost-graphBelow)
	return fitOverlapped(p, all, queues), nil
}

// cachedPool makes the server cache prompts that share all but their last tokens.
func (r *runner) cachedPool(ctx context.Context, tokens int) ([]sglang.Request, error) {
	all := r.prompts(shape{prompts: pool, tokens: own})
	shared := r.prompts(shape{prompts: 1, tokens: tokens - own})[0].InputIDs
	for i := range all {
		all[i].InputIDs = slices.Concat(shared, all[i].InputIDs)
	}
	_, err := r.call(ctx, all[:1])
	if err == nil {
		_, err = r.call(ctx, all)
	}
	return all, err
}

// lone measures a shape several times and returns the call of median time. Cached prompts are beginnings of those in
// the pool; one that is a text is made cached by sending it twice.
func (r *runner) lone(ctx context.Context, s shape, cached []sglang.Request, repeats int) (lone, error) {
	var calls []call
	for range repeatsOfLone*repeats + 1 {
		requests := r.prompts(s)
		for i := range requests {
			if s.cached > 0 && !s.text {
				requests[i].InputIDs = cached[i].InputIDs[:s.cached]
			}
		}
		if s.text {
			requests = r.prompts(shape{prompts: 1, tokens: s.cached, text: true})
			if _, err := r.call(ctx, requests); err != nil {
				return lone{}, err
			}
		}
		c, err := r.call(ctx, requests)
		if err != nil {
			return lone{}, err
		}
		calls = append(calls, c)
	}
	calls = calls[1:] // the first pays for connections and lazy initialization
	slices.SortFunc(calls, func(a, b call) int { return int(math.Copysign(1, a.whole-b.whole)) })
	return lone{shape: s, call: calls[len(calls)/2]}, nil
}

// queue returns the seconds that the server takes for each of so many calls, by callers who send one after another.
func (r *runner) queue(ctx context.Context, callers, calls int, requests []sglang.Request) (float64, error) {
	var mu sync.Mutex
	var ends []time.Time
	errs := make([]error, callers)
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for range calls / callers {
				if _, err := r.call(ctx, slices.Clone(requests)); err != nil {
					errs[caller] = err
					return
				}
				mu.Lock()
				ends = append(ends, time.Now())
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return 0, err
	}
	// The first calls and the last do not queue like the others.
	first, last := len(ends)/8, len(ends)*7/8
	return ends[last].Sub(ends[first]).Seconds() / float64(last-first), nil
}

// fitOverlapped fits the costs of a profile. Which calls launching bounds is not known: the shortest on the device, and
// as many more as fit best.
func fitOverlapped(p sim.Profile, all []lone, queues [3]float64) Result {
	var fitted, heldOut []lone
	for _, l := range all {
		if l.heldOut {
			heldOut = append(heldOut, l)
		} else {
			fitted = append(fitted, l)
		}
	}
	slices.SortStableFunc(fitted, func(a, b lone) int {
		return cmp.Or(cmp.Compare(a.uncached, b.uncached), cmp.Compare(a.squares, b.squares))
	})
	var best []float64
	least := math.Inf(1)
	for launched := 1; launched < len(fitted); launched++ {
		x, y := [][]float64{make([]float64, costs), make([]float64, costs), make([]float64, costs)}, slices.Clone(queues[:])
		x[0][callCost], x[0][requestCost] = 1, 1
		x[1][callCost], x[1][listCost], x[1][requestCost], x[1][tokenizeCost] = 1, 1, listPrompts, listPrompts*bytesOfToken*listTokens
		for cost, times := range map[int]float64{callCost: 1, requestCost: 1, scheduleCost: 2, launchCost: 2, aloneCost: 2} {
			x[2][cost] = times / 2
		}
		for i, l := range fitted {
			x, y = append(x, l.row(p.PrefillGraphs, i < launched)), append(y, l.whole)
		}
		c := stats.LeastSquares(x, y)
		sum := 0.0
		for _, off := range stats.RelativeErrors(x[:len(queues)], y[:len(queues)], c) {
			sum += off * off
		}
		for _, l := range fitted {
			sum += math.Pow(l.off(p.PrefillGraphs, c), 2)
		}
		if sum < least {
			best, least = c, sum
		}
	}
	p.CallSeconds, p.ListSeconds, p.RequestSeconds, p.ScheduleSeconds = best[callCost], best[listCost], best[requestCost], best[scheduleCost]
	p.LaunchSeconds, p.AloneSeconds, p.ForwardSeconds = best[launchCost], best[aloneCost], best[forwardCost]
	p.TokenSeconds, p.AttentionSeconds, p.TokenizeSecondsPerByte = best[tokenCost], best[attentionCost], best[tokenizeCost]
	var off []float64
	for _, l := range heldOut {
		off = append(off, l.off(p.PrefillGraphs, best))
	}
	r := Result{Profile: p, Calls: len(all), Whole: stats.Summarize(off)}
	r.Profile.Origin += fmt.Sprintf("by the time of lone calls and of calls that queue: "+
		"lone calls that were not fitted are off by %.0f %% on average, %.0f %% at the worst", 100*r.Whole.Mean, 100*r.Whole.Max)
	return r
}
