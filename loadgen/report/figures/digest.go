package figures

import (
	"cmp"
	"io"
	"maps"
	"math"
	"slices"

	"paceline/loadgen/report"
)

// Digest is what report.html shows about single requests. It keeps a few kilobytes per setting, however
// many requests there were. The zero value is ready to use. A Digest is not safe for concurrent use.
type Digest struct {
	Timelines []Timeline       // of the first run of each setting and phase; one of them is shown
	Slowest   []report.Request // of the whole sweep, slowest first
}

// ReadDigest digests a requests.jsonl. Its error names the request.
func ReadDigest(rd io.Reader) (d Digest, err error) {
	err = report.ReadRequests(rd, d.add)
	return d, err
}

// maxSlow is how many of the slowest requests of a sweep are kept.
const maxSlow = 10

// add adds the requests of one run.
func (d *Digest) add(run []report.Request) {
	run = only(run, func(r report.Request) bool { return !r.Dropped })
	if len(run) == 0 {
		return
	}
	if !slices.ContainsFunc(d.Timelines, func(t Timeline) bool { return t.Setting == run[0].Setting && t.Phase == run[0].Phase }) {
		d.Timelines = append(d.Timelines, *timelineOf(run))
	}
	d.Slowest = append(d.Slowest, only(run, func(r report.Request) bool { return r.Counts() && r.LatencySeconds >= 0 })...)
	slices.SortStableFunc(d.Slowest, func(a, b report.Request) int { return cmp.Compare(b.LatencySeconds, a.LatencySeconds) })
	d.Slowest = slices.Clone(d.Slowest[:min(len(d.Slowest), maxSlow)]) // lets go of the others
}

// shown returns the digest with the one timeline that is shown: of the first phase's recommended setting, or
// else of the first in the order of tables.
func (d Digest) shown(phases []Phase) Digest {
	of := only(d.Timelines, func(t Timeline) bool { return t.Seconds > 0 })
	d.Timelines = nil
	for _, p := range phases {
		cells := slices.SortedStableFunc(slices.Values(p.Cells), byPlace)
		if best := p.Recommended.Best(); best != nil {
			cells = append([]Cell{*best}, cells...)
		}
		for _, c := range cells {
			i := slices.IndexFunc(of, func(t Timeline) bool { return t.Setting == c.Setting && t.Phase == p.Name })
			if i >= 0 {
				d.Timelines = of[i : i+1]
				return d
			}
		}
	}
	return d
}

// Timeline shows how many requests were under way during a run.
type Timeline struct {
	Setting, Phase string
	Repeat         int

	Seconds  float64   // that it covers
	InFlight []float64 // mean number of requests under way in each of TimelineParts equal parts of the time
	Waiting  []float64 // of these, those that wait in the proxy
	Batches  []Dot
}

// Dot is a batch that left the proxy. If there are very many, only some are shown.
type Dot struct{ Seconds, Size float64 }

const (
	// TimelineParts is the number of parts of equal length in a timeline.
	TimelineParts = 160

	maxDots = 320 // batches shown in a timeline, about
)

// timed reports whether a request's times can be drawn.
func timed(r report.Request) bool {
	return r.SentSeconds >= 0 && r.LatencySeconds >= 0 && r.SentSeconds+r.LatencySeconds <= math.MaxFloat32
}

func timelineOf(run []report.Request) *Timeline {
	t := &Timeline{Setting: run[0].Setting, Phase: run[0].Phase, Repeat: run[0].Repeat}
	run = only(run, timed)
	for _, r := range run {
		t.Seconds = max(t.Seconds, r.SentSeconds+r.LatencySeconds)
	}
	if t.Seconds <= 0 {
		return t
	}
	inFlight, waiting := make([]float64, TimelineParts), make([]float64, TimelineParts)
	batches := map[string]Dot{}
	for _, r := range run {
		t.occupy(inFlight, r.SentSeconds, r.SentSeconds+r.LatencySeconds)
		if r.BatchID != "" {
			left := r.SentSeconds + min(r.LatencySeconds, max(0, r.QueueWaitSeconds))
			t.occupy(waiting, r.SentSeconds, left)
			batches[r.BatchID] = Dot{max(left, batches[r.BatchID].Seconds), float64(r.BatchSize)}
		}
	}
	t.InFlight = inFlight
	if len(batches) > 0 {
		t.Waiting = waiting
		t.Batches = slices.SortedFunc(maps.Values(batches), func(a, b Dot) int {
			return cmp.Or(cmp.Compare(a.Seconds, b.Seconds), cmp.Compare(a.Size, b.Size))
		})
		every, i := len(t.Batches)/maxDots+1, 0
		t.Batches = slices.DeleteFunc(t.Batches, func(Dot) bool { i++; return i%every != 0 })
	}
	return t
}

// part returns the index of the part that a time is in.
func (t *Timeline) part(seconds float64) int {
	return min(TimelineParts-1, max(0, int(seconds/t.Seconds*TimelineParts)))
}

// occupy adds to each part the share of it that a request occupied.
func (t *Timeline) occupy(parts []float64, from, until float64) {
	length := t.Seconds / TimelineParts
	for i := t.part(from); i <= t.part(until); i++ {
		parts[i] += max(0, min(until, float64(i+1)*length)-max(from, float64(i)*length)) / length
	}
}
