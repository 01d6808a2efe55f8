package report

import (
	"cmp"
	"math"
	"slices"

	"paceline/loadgen/stats"
)

// Digest is what report.html shows of single requests. However many there were, it
// keeps a few kilobytes of each run. The zero value is ready. It is not safe for
// concurrent use.
type Digest struct {
	runs    []runDigest
	slowest []Request
}

// runDigest is one run's requests in brief.
type runDigest struct {
	setting, phase string
	repeat         int
	answered       int
	spectrum       []spectrumPoint
	timeline       *timeline // of the first run of its setting and phase; else nil
}

// spectrumPoint is how long a share of the answers took at most.
type spectrumPoint struct {
	share   float64 // from 0 to 1
	seconds float64
}

// mostSlow is how many of the slowest requests of a sweep are kept.
const mostSlow = 10

// Add takes in the requests of one run.
func (d *Digest) Add(run []Request) {
	run = slices.DeleteFunc(slices.Clone(run), func(r Request) bool { return r.Dropped })
	if len(run) == 0 {
		return
	}
	first := run[0]
	one := runDigest{setting: first.Setting, phase: first.Phase, repeat: first.Repeat}
	var latency []float64
	for _, r := range run {
		if r.counts() {
			latency = append(latency, r.LatencySeconds)
		}
	}
	one.answered, one.spectrum = len(latency), spectrumOf(latency)
	if !slices.ContainsFunc(d.runs, func(o runDigest) bool { return o.setting == one.setting && o.phase == one.phase }) {
		one.timeline = timelineOf(run)
	}
	d.runs = append(d.runs, one)
	d.keepSlowest(run)
}

// counts says whether the request is in the report's figures of latency.
func (r Request) counts() bool { return r.Error == "" && !r.Dropped && !r.WarmUp }

func (d *Digest) keepSlowest(run []Request) {
	d.slowest = append(d.slowest, run...)
	d.slowest = slices.DeleteFunc(d.slowest, func(r Request) bool { return !r.counts() || !(r.LatencySeconds >= 0) })
	slices.SortStableFunc(d.slowest, func(a, b Request) int { return cmp.Compare(b.LatencySeconds, a.LatencySeconds) })
	d.slowest = slices.Clone(d.slowest[:min(len(d.slowest), mostSlow)]) // and nothing of the rest
}

// spectrumShares are the shares that a spectrum tells, closer together towards 1,
// as HdrHistogram's percentile plots have them.
var spectrumShares = func() (shares []float64) {
	shares = []float64{0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85}
	for left := 0.1; left > 1e-6; left /= 10 {
		for _, f := range []float64{1, 0.75, 0.5, 0.35, 0.25, 0.175} {
			shares = append(shares, 1-f*left)
		}
	}
	return shares
}()

// spectrumOf is the spectrum of latencies, as far as so many can tell it, and the
// longest of them at its end.
func spectrumOf(latency []float64) (points []spectrumPoint) {
	latency = slices.DeleteFunc(slices.Clone(latency), func(v float64) bool { _, ok := finite(v); return !ok })
	slices.Sort(latency)
	n := float64(len(latency))
	for _, share := range spectrumShares {
		if (1-share)*n >= 1 {
			points = append(points, spectrumPoint{share, stats.Percentile(latency, 100*share)})
		}
	}
	if n > 1 {
		points = append(points, spectrumPoint{1 - 1/(2*n), latency[len(latency)-1]})
	}
	return points
}

// spectrum is a cell's: each share's latency is the median of the repeats', as all
// figures are. In repeats of different length the longest says where it ends.
func (d Digest) spectrum(setting, phase string) (points []spectrumPoint) {
	at := map[float64][]float64{}
	for _, r := range d.runs {
		if r.setting != setting || r.phase != phase {
			continue
		}
		for _, p := range r.spectrum {
			at[p.share] = append(at[p.share], p.seconds)
		}
	}
	for share, seconds := range at {
		points = append(points, spectrumPoint{share, stats.Median(seconds)})
	}
	slices.SortFunc(points, func(a, b spectrumPoint) int { return cmp.Compare(a.share, b.share) })
	for i := 1; i < len(points); i++ { // medians of different repeats may not rise throughout
		points[i].seconds = max(points[i].seconds, points[i-1].seconds)
	}
	return points
}

// timeline is what was under way during a run.
type timeline struct {
	seconds  float64   // that it covers
	inFlight []float64 // sent and not ended, on average over each of equal parts of the time
	waiting  []float64 // of these, waiting in the proxy
	batches  []batchDot
}

// batchDot is a batch that left the proxy, or the average of several.
type batchDot struct{ seconds, size float64 }

// Parts of a timeline, and how many batches are shown one by one.
const (
	timelineParts = 160
	mostDots      = 320
)

func timelineOf(run []Request) *timeline {
	t := &timeline{}
	for _, r := range run {
		end, ok := finite(r.SentSeconds + r.LatencySeconds)
		if ok && r.SentSeconds >= 0 && r.LatencySeconds >= 0 {
			t.seconds = max(t.seconds, end)
		}
	}
	if t.seconds <= 0 {
		return nil
	}
	inFlight, waiting := newOccupancy(t.seconds), newOccupancy(t.seconds)
	type batch struct{ left, size float64 }
	batches := map[string]batch{}
	for _, r := range run {
		if end, ok := finite(r.SentSeconds + r.LatencySeconds); !ok || end > t.seconds || r.SentSeconds < 0 || r.LatencySeconds < 0 {
			continue
		}
		inFlight.add(r.SentSeconds, r.SentSeconds+r.LatencySeconds)
		if r.BatchID == "" {
			continue
		}
		left := r.SentSeconds + min(r.LatencySeconds, max(0, r.QueueWaitSeconds))
		waiting.add(r.SentSeconds, left)
		batches[r.BatchID] = batch{max(left, batches[r.BatchID].left), float64(r.BatchSize)}
	}
	t.inFlight = inFlight.means()
	if len(batches) == 0 {
		return t
	}
	t.waiting = waiting.means()
	for _, b := range batches {
		t.batches = append(t.batches, batchDot{b.left, b.size})
	}
	slices.SortFunc(t.batches, func(a, b batchDot) int { return cmp.Or(cmp.Compare(a.seconds, b.seconds), cmp.Compare(a.size, b.size)) })
	t.batches = thinned(t.batches, t.seconds)
	return t
}

// thinned replaces too many batches by the averages of parts of the time.
func thinned(dots []batchDot, seconds float64) (out []batchDot) {
	if len(dots) <= mostDots {
		return dots
	}
	sum, n := make([]float64, timelineParts), make([]float64, timelineParts)
	for _, d := range dots {
		i := min(timelineParts-1, int(d.seconds/seconds*timelineParts))
		sum[i] += d.size
		n[i]++
	}
	for i := range sum {
		if n[i] > 0 {
			out = append(out, batchDot{(float64(i) + 0.5) * seconds / timelineParts, sum[i] / n[i]})
		}
	}
	return out
}

// occupancy sums how long things were there in each of equal parts of the time.
type occupancy struct {
	part  float64
	sum   []float64 // seconds within the part
	whole []float64 // change, at each part, of how many are there for all of it
}

func newOccupancy(seconds float64) *occupancy {
	return &occupancy{seconds / timelineParts, make([]float64, timelineParts), make([]float64, timelineParts+1)}
}

// add takes in a thing that is there from and until, both within the time.
func (o *occupancy) add(from, until float64) {
	first, last := o.at(from), o.at(until)
	if first == last {
		o.sum[first] += until - from
		return
	}
	o.sum[first] += float64(first+1)*o.part - from
	o.sum[last] += until - float64(last)*o.part
	o.whole[first+1]++
	o.whole[last]--
}

func (o *occupancy) at(seconds float64) int {
	return min(timelineParts-1, max(0, int(math.Floor(seconds/o.part))))
}

// means is how many things were there, on average over each part.
func (o *occupancy) means() []float64 {
	out := make([]float64, timelineParts)
	whole := 0.0
	for i := range out {
		whole += o.whole[i]
		out[i] = max(0, whole+o.sum[i]/o.part)
	}
	return out
}
