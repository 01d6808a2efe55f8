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

// A server's scheduler launches one forward while the device computes another. Calibration uses the
// clock alone: such a server's own account counts the time from the launch of a forward to its result, so forwards
// that overlap count twice (sglang 0.5.17). Each measurement adds up other costs:
//
//	a lone call            call [+ list] + prompts·(request + schedule) + bytes·tokenize + the longer of launch and device
//	the device             forward + tokens of the graph·token + squares of tokens·attention
//	calls that queue       call [+ list] + prompts·request + bytes·tokenize, for the front end bounds them
//	two callers, k prompts each: both calls take call [+ list] + k·request + 2·(k·schedule + launch + alone/k)

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
	sum := max(dot(l.row(graphs, true), fitted), dot(l.row(graphs, false), fitted))
	return math.Abs(sum-l.whole) / l.whole
}

func dot(row, costs []float64) (sum float64) {
	for i, times := range row {
		sum += times * costs[i]
	}
	return sum
}

// Amounts of work: what keeps the front end busy, for long enough that the clock's and the machine's own errors are small.
const (
	manyCallers, manyCalls   = 64, 1600 // with 256 callers a real front end is slower
	listCallers, listCalls   = 4, 16
	listPrompts, listTokens  = 128, 256 // texts, or the scheduler might take longer than the front end
	bytesOfToken             = 4
	pairCalls                = 96         // whole pairs are left when those at the ends are cut off
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
	queues := []queue{
		{callers: manyCallers, calls: manyCalls, requests: cached[:1]}, {callers: listCallers, calls: listCalls, requests: texts},
	}
	for _, k := range []int{1, 2, 4, 8} {
		queues = append(queues, queue{callers: 2, calls: pairCalls, requests: cached[:k]})
	}
	for i, q := range queues {
		if queues[i].seconds, err = r.queue(ctx, q); err != nil {
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

// queue is a measurement of equal calls by callers who send one after another.
type queue struct {
	callers, calls int
	requests       []sglang.Request
	seconds        float64 // of each call
}

// row returns the costs of a call.
func (q queue) row() []float64 {
	row := make([]float64, costs)
	k := float64(len(q.requests))
	row[callCost], row[requestCost] = 1, k
	if k > 1 {
		row[listCost] = 1
	}
	for _, one := range q.requests {
		row[tokenizeCost] += float64(len(one.Text))
	}
	if q.callers == 2 { // the front end's work for both is done at the same time
		row[callCost], row[requestCost], row[listCost] = row[callCost]/2, row[requestCost]/2, row[listCost]/2
		row[scheduleCost], row[launchCost], row[aloneCost] = k, 1, 1/k
	}
	return row
}

func (r *runner) queue(ctx context.Context, q queue) (seconds float64, err error) {
	var mu sync.Mutex
	var ends []time.Time
	errs := make([]error, q.callers)
	var wg sync.WaitGroup
	for caller := range q.callers {
		wg.Go(func() {
			for range q.calls / q.callers {
				if _, err := r.call(ctx, slices.Clone(q.requests)); err != nil {
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

// fitOverlapped fits the costs of a profile. Whether launching bounds a call or the device is not known: of several
// guesses, mended by what they lead to, the one that fits best is taken.
func fitOverlapped(p sim.Profile, all []lone, queues []queue) Result {
	var fitted, heldOut []lone
	for _, l := range all {
		if l.heldOut {
			heldOut = append(heldOut, l)
		} else {
			fitted = append(fitted, l)
		}
	}
	slices.SortStableFunc(fitted, func(a, b lone) int { return cmp.Compare(a.uncached, b.uncached) })
	var best []float64
	least := math.Inf(1)
	for guess := 1; guess < len(fitted); guess++ {
		if c, sum := fitFrom(guess, fitted, queues, p.PrefillGraphs); sum < least {
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

// fitFrom fits the costs, from the guess that launching bounds so many of the lone calls. It returns the sum of the
// squares of the relative errors.
func fitFrom(guess int, calls []lone, queues []queue, graphs bool) (fitted []float64, sum float64) {
	launched := make([]bool, len(calls))
	for i := range guess {
		launched[i] = true
	}
	for range 5 {
		var x [][]float64
		var y []float64
		for _, q := range queues {
			x, y = append(x, q.row()), append(y, q.seconds)
		}
		for i, l := range calls {
			x, y = append(x, l.row(graphs, launched[i])), append(y, l.whole)
		}
		fitted = stats.LeastSquares(x, y)
		for i, l := range calls {
			launched[i] = dot(l.row(graphs, true), fitted) > dot(l.row(graphs, false), fitted)
		}
	}
	for _, q := range queues {
		sum += math.Pow(dot(q.row(), fitted)/q.seconds-1, 2)
	}
	for _, l := range calls {
		sum += math.Pow(l.off(graphs, fitted), 2)
	}
	return fitted, sum
}
