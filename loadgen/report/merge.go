package report

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"paceline/loadgen/phrase"
	"paceline/loadgen/stats"
)

// Shard says which part of the load a report is of.
type Shard struct {
	Index int `json:"index"` // from 0
	Of    int `json:"of"`    // shards
}

// Part is what one shard measured in one pass. Without its requests batches and
// percentiles are joined less exactly, and the run says so.
type Part struct {
	Run      Run
	Requests []Request
}

// MergeRun joins the parts of one pass: counts and tokens are summed, the time is from
// the earliest start to the latest end, and throughputs are computed anew. speed is
// seconds of the report per real second. The parts' own clocks say when they started;
// where they hardly ran together, the run says so.
func MergeRun(parts []Part, speed float64) (Run, []Request, error) {
	if len(parts) == 0 {
		return Run{}, nil, errors.New("no part to merge")
	}
	first := parts[0].Run
	m := Run{
		Setting: first.Setting, Mode: first.Mode, BatchSize: first.BatchSize, Phase: first.Phase, Repeat: first.Repeat,
		MaxInFlight: first.MaxInFlight, MaxWaitSeconds: first.MaxWaitSeconds, Order: first.Order,
		Errors: map[string]int{}, ReleaseReasons: map[string]int{},
	}
	for _, p := range parts {
		r := p.Run
		if r.Setting != m.Setting || r.Phase != m.Phase || r.Repeat != m.Repeat || r.Mode != m.Mode || r.BatchSize != m.BatchSize {
			return Run{}, nil, fmt.Errorf("%s is not %s", runName(r), runName(m))
		}
		m.add(r)
	}
	m.Complete = m.Completed == m.Total
	m.Traces = WorthSeeing(m.Traces)
	m.joinTime(parts, speed)
	requests := joinRequests(parts, m.StartedAt, speed)
	m.joinLatencies(parts)
	m.joinArrivals(parts)
	m.joinBatches(parts, requests)
	return m, requests, nil
}

// add sums what can be summed.
func (r *Run) add(p Run) {
	r.Total, r.Completed, r.Failed = r.Total+p.Total, r.Completed+p.Completed, r.Failed+p.Failed
	r.PromptTokens, r.CachedTokens = r.PromptTokens+p.PromptTokens, r.CachedTokens+p.CachedTokens
	r.Interrupted = r.Interrupted || p.Interrupted
	for cause, n := range p.Errors {
		r.Errors[cause] += n
	}
	r.ServerUncachedTokens, r.ServerBusySeconds = plus(r.ServerUncachedTokens, p.ServerUncachedTokens), plus(r.ServerBusySeconds, p.ServerBusySeconds)
	r.ServerForwards, r.ServerSequences = plus(r.ServerForwards, p.ServerForwards), plus(r.ServerSequences, p.ServerSequences)
	r.ProcessCPUSeconds = plus(r.ProcessCPUSeconds, p.ProcessCPUSeconds)
	r.Traces = append(r.Traces, p.Traces...)
	for _, note := range p.Notes {
		r.note(note)
	}
}

func plus[T int64 | float64](a, b *T) *T {
	if a == nil || b == nil {
		return cmp.Or(a, b)
	}
	sum := *a + *b
	return &sum
}

// ranTogether is the share of a merged run in which all shards must have been sending
// for it to be one load.
const ranTogether = 0.9

// joinTime sets when the run began and how long it took, and what follows from that.
func (r *Run) joinTime(parts []Part, speed float64) {
	var from, lastStart, firstEnd, lastEnd time.Time
	for i, p := range parts {
		began := p.Run.StartedAt.Add(time.Duration(p.Run.warmUpSeconds() / speed * float64(time.Second)))
		ended := began.Add(time.Duration(p.Run.clockSeconds(speed) * float64(time.Second)))
		if i == 0 || began.Before(from) {
			from = began
		}
		if at := p.Run.StartedAt; i == 0 || at.Before(r.StartedAt) {
			r.StartedAt = at
		}
		if i == 0 || ended.Before(firstEnd) {
			firstEnd = ended
		}
		lastStart, lastEnd = later(lastStart, began), later(lastEnd, ended)
	}
	r.WallClockSeconds = lastEnd.Sub(from).Seconds()
	r.WallSeconds = r.WallClockSeconds * speed
	if len(parts) == 1 { // as it is, and not by way of a sum of times
		r.WallSeconds, r.WallClockSeconds = parts[0].Run.WallSeconds, parts[0].Run.clockSeconds(speed)
	}
	if r.WallSeconds > 0 {
		r.RequestThroughput, r.InputTokenThroughput = float64(r.Completed)/r.WallSeconds, float64(r.PromptTokens)/r.WallSeconds
	}
	if together := firstEnd.Sub(lastStart).Seconds(); len(parts) > 1 && together < ranTogether*r.WallClockSeconds {
		r.Notes = append(r.Notes, fmt.Sprintf("its %d shards all ran together for only %.0f %% of its time by their clocks: the rest is less load than was asked for", len(parts), 100*max(0, together)/r.WallClockSeconds))
	}
}

// clockSeconds is how long the run took in real seconds.
func (r Run) clockSeconds(speed float64) float64 {
	if r.WallClockSeconds > 0 {
		return r.WallClockSeconds
	}
	return r.WallSeconds / speed
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// joinRequests is all requests, told from the merged run's beginning; nil where a part
// does not have those of all it sent.
func joinRequests(parts []Part, began time.Time, speed float64) (all []Request) {
	for _, p := range parts {
		measured := 0
		for _, r := range p.Requests {
			if !r.Dropped && !r.WarmUp {
				measured++
			}
		}
		if measured != p.Run.Completed+p.Run.Failed {
			return nil
		}
		offset := p.Run.StartedAt.Sub(began).Seconds() * speed
		for _, r := range p.Requests {
			r.SentSeconds, r.IntendedSeconds = r.SentSeconds+offset, r.IntendedSeconds+offset
			all = append(all, r)
		}
	}
	return all
}

// joinLatencies joins the summaries: by the histograms, within 0.1 %, and in the mean and
// the maximum by what each part counted exactly.
func (r *Run) joinLatencies(parts []Part) {
	r.Latency, r.LatencyHistogram = r.join(parts, func(r Run) (stats.Summary, *stats.Histogram) { return r.Latency, r.LatencyHistogram })
	r.QueueWait, r.QueueWaitHistogram = r.join(parts, func(r Run) (stats.Summary, *stats.Histogram) { return r.QueueWait, r.QueueWaitHistogram })
}

// join joins one of the summaries of each part.
func (r *Run) join(parts []Part, of func(Run) (stats.Summary, *stats.Histogram)) (stats.Summary, *stats.Histogram) {
	if len(parts) == 1 {
		return of(parts[0].Run)
	}
	var all []*stats.Histogram
	var exact stats.Summary
	for _, p := range parts {
		s, h := of(p.Run)
		if s.Count > 0 && h == nil {
			r.note("its percentiles are not told, because a shard's report has no histogram of them")
			return stats.Summary{}, nil
		}
		all = append(all, h)
		exact.Count, exact.Mean, exact.Max = exact.Count+s.Count, exact.Mean+s.Mean*float64(s.Count), max(exact.Max, s.Max)
	}
	h := stats.Merge(all...)
	if exact.Count == 0 {
		return stats.Summary{}, h
	}
	s := h.Summary()
	s.Mean, s.Max = exact.Mean/float64(exact.Count), exact.Max
	return s, h
}

// joinArrivals joins what is told of due times, and of the processes that sent: the
// longest waits are those of the process that waited most.
func (r *Run) joinArrivals(parts []Part) {
	var a Arrivals
	for _, p := range parts {
		if w := p.Run.SchedulerWait; w != nil {
			most := cmp.Or(r.SchedulerWait, &SchedulerWait{})
			r.SchedulerWait = &SchedulerWait{max(most.P50, w.P50), max(most.P99, w.P99), max(most.Max, w.Max)}
		}
		one := p.Run.Arrivals
		if one == nil {
			return
		}
		a.Dropped, a.Late, a.LateByItself, a.WarmUp = a.Dropped+one.Dropped, a.Late+one.Late, a.LateByItself+one.LateByItself, a.WarmUp+one.WarmUp
		a.WarmUpSeconds = max(a.WarmUpSeconds, one.WarmUpSeconds)
	}
	a.LatencyFromIntended, a.LatencyFromIntendedHistogram = r.join(parts, func(r Run) (stats.Summary, *stats.Histogram) {
		return r.Arrivals.LatencyFromIntended, r.Arrivals.LatencyFromIntendedHistogram
	})
	a.SendDelay, a.SendDelayHistogram = r.join(parts, func(r Run) (stats.Summary, *stats.Histogram) {
		return r.Arrivals.SendDelay, r.Arrivals.SendDelayHistogram
	})
	a.OwnDelay, a.OwnDelayHistogram = r.join(parts, func(r Run) (stats.Summary, *stats.Histogram) {
		return r.Arrivals.OwnDelay, r.Arrivals.OwnDelayHistogram
	})
	r.Arrivals = &a
}

// note tells something once.
func (r *Run) note(text string) {
	if !slices.Contains(r.Notes, text) {
		r.Notes = append(r.Notes, text)
	}
}

// joinBatches counts them by the receipts. Shards behind one proxy share batches, which only
// the requests can tell.
func (r *Run) joinBatches(parts []Part, requests []Request) {
	if len(requests) == 0 {
		for _, p := range parts {
			r.Batches += p.Run.Batches
			r.EffectiveBatchSize += p.Run.EffectiveBatchSize * float64(p.Run.Batches)
			for reason, n := range p.Run.ReleaseReasons {
				r.ReleaseReasons[reason] += n
			}
		}
		if r.Batches > 0 {
			r.EffectiveBatchSize /= float64(r.Batches)
		}
		if len(parts) > 1 && r.Batches > 0 {
			r.Notes = append(r.Notes, "a batch with requests of several shards counts once for each of them, because not all of their requests.jsonl were there")
		}
		return
	}
	seen := map[string]bool{}
	members := 0
	for _, q := range requests {
		if q.Error != "" || q.WarmUp || q.BatchID == "" || seen[q.BatchID] {
			continue
		}
		seen[q.BatchID] = true
		members += q.BatchSize
		r.Batches++
		r.ReleaseReasons[q.ReleaseReason]++
	}
	if r.Batches > 0 {
		r.EffectiveBatchSize = float64(members) / float64(r.Batches)
	}
}

// Merge joins the reports of all shards of one load, with their requests. An error says
// which shard is missing or what they differ in. A run that not all of them measured is
// left out, and the report is then partial.
func Merge(reports []Report, requests [][]Request) (Report, []Request, error) {
	if err := mergeable(reports); err != nil {
		return Report{}, nil, err
	}
	m := reports[0]
	m.Shard, m.Merged, m.Runs, m.Resumed, m.Config.WarmUpPrompts = nil, len(reports), nil, nil, 0
	servers := map[string]bool{}
	runs := map[runKey][]Part{}
	var order []runKey
	var reasons []string
	for i, r := range reports {
		servers[r.Server.URL] = true
		m.Config.WarmUpPrompts += r.Config.WarmUpPrompts
		if r.CreatedAt.Before(m.CreatedAt) {
			m.CreatedAt = r.CreatedAt
		}
		if r.Partial {
			reasons = append(reasons, fmt.Sprintf("shard %d: %s", r.Shard.Index, r.PartialReason))
		}
		m.Resumed = append(m.Resumed, r.Resumed...)
		of := byRun(requests[i])
		for _, run := range r.Runs {
			k := run.key()
			if _, seen := runs[k]; !seen {
				order = append(order, k)
			}
			runs[k] = append(runs[k], Part{run, of[k]})
		}
	}
	var all []Request
	left := 0
	for _, k := range order {
		if len(runs[k]) != len(reports) {
			left++
			continue
		}
		run, of, err := MergeRun(runs[k], m.speed())
		if err != nil {
			return Report{}, nil, err
		}
		if len(servers) < len(reports) { // each account is of the load of several
			run.ServerUncachedTokens, run.ServerBusySeconds, run.ServerForwards, run.ServerSequences = nil, nil, nil, nil
		}
		m.Runs, all = append(m.Runs, run), append(all, of...)
	}
	if left > 0 {
		reasons = append(reasons, fmt.Sprintf("%s not measured by all shards and left out", phrase.Count(left, "%s run", "%s runs")))
	}
	m.Partial, m.PartialReason = len(reasons) > 0, phrase.List(phrase.Names(reasons)).String()
	return m, all, nil
}

// runKey tells the runs of a report apart.
type runKey struct {
	setting, phase string
	repeat         int
}

func (r Run) key() runKey { return runKey{r.Setting, r.Phase, r.Repeat} }

func byRun(requests []Request) map[runKey][]Request {
	of := map[runKey][]Request{}
	for _, q := range requests {
		k := runKey{q.Setting, q.Phase, q.Repeat}
		of[k] = append(of[k], q)
	}
	return of
}

// mergeable says whether the reports are of all shards of one load.
func mergeable(reports []Report) error {
	if len(reports) == 0 {
		return errors.New("no report to merge")
	}
	seen := map[int]bool{}
	for _, r := range reports {
		switch {
		case r.Shard == nil:
			return errors.New("a report is not of a shard: only those of -shard i/n merge")
		case r.Shard.Of != len(reports):
			return fmt.Errorf("shard %d is one of %d, and %s given", r.Shard.Index, r.Shard.Of, phrase.Count(len(reports), "%s report", "%s reports"))
		case r.Shard.Index < 0 || r.Shard.Index >= r.Shard.Of:
			return fmt.Errorf("there is no shard %d of %d", r.Shard.Index, r.Shard.Of)
		case seen[r.Shard.Index]:
			return fmt.Errorf("shard %d is given twice", r.Shard.Index)
		}
		seen[r.Shard.Index] = true
	}
	alike := func(c Config) Config { c.WarmUpPrompts = 0; return c } // each has its own
	a := reports[0]
	for _, b := range reports[1:] {
		for _, d := range []struct {
			what string
			a, b any
		}{
			{"source", a.Source, b.Source}, {"config", alike(a.Config), alike(b.Config)}, {"simulation", a.Simulation, b.Simulation},
			{"SGLang's version", a.Server.Version, b.Server.Version}, {"model", a.Server.Model, b.Server.Model}, {"device", a.Server.Device, b.Server.Device},
		} {
			if !reflect.DeepEqual(d.a, d.b) {
				return fmt.Errorf("shards %d and %d differ in their %s", a.Shard.Index, b.Shard.Index, d.what)
			}
		}
	}
	return nil
}
