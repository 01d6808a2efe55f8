package report

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"paceline/loadgen/stats"
)

// Part is what one shard measured in one pass. Without its requests, batches and percentiles are
// merged less exactly, and the run has a note about it.
type Part struct {
	Run      Run
	Requests []Request
}

// MergeRun merges the parts of one pass. It sums counts and tokens, takes the time from the earliest
// start to the latest end by the parts' own clocks, and recomputes throughputs. The run has a note if
// its parts hardly overlapped.
func MergeRun(parts []Part) (Run, []Request, error) {
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
		if r := p.Run; r.key() != m.key() || r.Mode != m.Mode || r.BatchSize != m.BatchSize {
			return Run{}, nil, fmt.Errorf("%s, %s, repeat %d is not %s, %s, repeat %d", r.Setting, r.Phase, r.Repeat, m.Setting, m.Phase, m.Repeat)
		}
		m.add(p.Run)
	}
	m.Complete = m.Completed == m.Total
	m.Traces = WorthSeeing(m.Traces)
	m.joinTime(parts)
	requests := joinRequests(parts, m.StartedAt)
	m.joinArrivals(parts)
	if !slices.ContainsFunc(parts, func(p Part) bool { return p.Run.TTFT == nil }) {
		m.TTFT = &stats.Summary{}
	}
	for i, d := range m.distributions() {
		m.join(d, parts, i)
	}
	m.joinBatches(parts, requests)
	return m, requests, nil
}

// add adds the counts of a part.
func (r *Run) add(p Run) {
	r.Total, r.Completed, r.Failed = r.Total+p.Total, r.Completed+p.Completed, r.Failed+p.Failed
	r.Retried += p.Retried
	r.PromptTokens, r.CachedTokens = r.PromptTokens+p.PromptTokens, r.CachedTokens+p.CachedTokens
	r.OutputTokens, r.CachedUnknown = r.OutputTokens+p.OutputTokens, r.CachedUnknown || p.CachedUnknown
	r.Interrupted = r.Interrupted || p.Interrupted
	r.ImpossibleCounts, r.ImpossibleCause = r.ImpossibleCounts+p.ImpossibleCounts, cmp.Or(r.ImpossibleCause, p.ImpossibleCause)
	for cause, n := range p.Errors {
		r.Errors[cause] += n
	}
	r.ServerUncachedTokens = plus(r.ServerUncachedTokens, p.ServerUncachedTokens)
	r.ServerBusySeconds = plus(r.ServerBusySeconds, p.ServerBusySeconds)
	r.ServerForwards, r.ServerSequences = plus(r.ServerForwards, p.ServerForwards), plus(r.ServerSequences, p.ServerSequences)
	r.ProcessCPUSeconds = plus(r.ProcessCPUSeconds, p.ProcessCPUSeconds)
	r.Traces = append(r.Traces, p.Traces...)
	for _, note := range p.Notes {
		r.note(note)
	}
	if w := p.SchedulerWait; w != nil { // the worst process
		maxWait := cmp.Or(r.SchedulerWait, &SchedulerWait{})
		r.SchedulerWait = &SchedulerWait{max(maxWait.P50, w.P50), max(maxWait.P99, w.P99), max(maxWait.Max, w.Max)}
	}
}

func plus[T int64 | float64](a, b *T) *T {
	if a == nil || b == nil {
		return cmp.Or(a, b)
	}
	sum := *a + *b
	return &sum
}

// note adds a note once.
func (r *Run) note(text string) {
	if !slices.Contains(r.Notes, text) {
		r.Notes = append(r.Notes, text)
	}
}

// minTogether is the share of a merged run in which all shards must have been sending, for it to count
// as one load.
const minTogether = 0.9

// joinTime sets the start, duration and throughputs of the run.
func (r *Run) joinTime(parts []Part) {
	var started, began, ended []time.Time
	for _, p := range parts {
		start := p.Run.StartedAt
		begin := start.Add(time.Duration(p.Run.Due().WarmUpSeconds * float64(time.Second)))
		started, began = append(started, start), append(began, begin)
		ended = append(ended, begin.Add(time.Duration(p.Run.WallSeconds*float64(time.Second))))
	}
	r.StartedAt = slices.MinFunc(started, time.Time.Compare)
	r.WallSeconds = slices.MaxFunc(ended, time.Time.Compare).Sub(slices.MinFunc(began, time.Time.Compare)).Seconds()
	if len(parts) == 1 { // exactly as measured, without rounding by time arithmetic
		r.WallSeconds = parts[0].Run.WallSeconds
	}
	r.WallClockSeconds = r.WallSeconds
	if r.WallSeconds > 0 {
		r.RequestThroughput, r.InputTokenThroughput = float64(r.Completed)/r.WallSeconds, float64(r.PromptTokens)/r.WallSeconds
	}
	together := slices.MinFunc(ended, time.Time.Compare).Sub(slices.MaxFunc(began, time.Time.Compare)).Seconds()
	if len(parts) > 1 && together < minTogether*r.WallSeconds {
		const note = "its %d shards all ran together for only %.0f %% of its time by their clocks: the rest is less load than was asked for"
		r.note(fmt.Sprintf(note, len(parts), 100*max(0, together)/r.WallSeconds))
	}
}

// joinRequests returns all requests, timed from the start of the merged run; nil if a part lacks
// requests that it sent.
func joinRequests(parts []Part, began time.Time) (all []Request) {
	for _, p := range parts {
		measured := 0
		offset := p.Run.StartedAt.Sub(began).Seconds()
		for _, r := range p.Requests {
			if !r.Dropped && !r.WarmUp {
				measured += max(1, r.Questions)
			}
			r.SentSeconds, r.IntendedSeconds = r.SentSeconds+offset, r.IntendedSeconds+offset
			all = append(all, r)
		}
		if measured != p.Run.Completed+p.Run.Failed {
			return nil
		}
	}
	return all
}

// join merges distribution i of all parts: percentiles from the histograms, within 0.1 %; the mean and
// the maximum exactly.
func (r *Run) join(d distribution, parts []Part, i int) {
	var all []*stats.Histogram
	var exact stats.Summary
	for _, p := range parts {
		one := p.Run.distributions()[i]
		s, h := *one.summary, *one.histogram
		if len(parts) == 1 {
			*d.summary, *d.histogram = s, h
			return
		}
		if s.Count > 0 && h == nil {
			r.note("it has no percentiles, because a shard's report has no histogram of them")
			return
		}
		all = append(all, h)
		exact.Count, exact.Mean, exact.Max = exact.Count+s.Count, exact.Mean+s.Mean*float64(s.Count), max(exact.Max, s.Max)
	}
	*d.histogram = stats.Merge(all...)
	if exact.Count > 0 {
		*d.summary = (*d.histogram).Summary()
		d.summary.Mean, d.summary.Max = exact.Mean/float64(exact.Count), exact.Max
	}
}

// joinArrivals sums the arrivals, if all parts have them.
func (r *Run) joinArrivals(parts []Part) {
	var a Arrivals
	for _, p := range parts {
		one := p.Run.Arrivals
		if one == nil {
			return
		}
		a.Dropped, a.Late, a.LateByItself = a.Dropped+one.Dropped, a.Late+one.Late, a.LateByItself+one.LateByItself
		a.WarmUp += one.WarmUp
		a.WarmUpSeconds = max(a.WarmUpSeconds, one.WarmUpSeconds)
	}
	r.Arrivals = &a
}

// joinBatches counts batches from the receipts. Shards behind one proxy share batches, which only the
// requests show.
func (r *Run) joinBatches(parts []Part, requests []Request) {
	members := 0.0
	seen := map[string]bool{}
	for _, q := range requests {
		if q.Error == "" && !q.WarmUp && q.BatchID != "" && !seen[q.BatchID] {
			seen[q.BatchID] = true
			members += float64(q.BatchSize)
			r.Batches++
			r.ReleaseReasons[q.ReleaseReason]++
		}
	}
	if len(requests) == 0 {
		for _, p := range parts {
			r.Batches += p.Run.Batches
			members += p.Run.EffectiveBatchSize * float64(p.Run.Batches)
			for reason, n := range p.Run.ReleaseReasons {
				r.ReleaseReasons[reason] += n
			}
		}
		if len(parts) > 1 && r.Batches > 0 {
			r.note("a batch with requests of several shards counts once for each of them, because not all of their requests.jsonl were there")
		}
	}
	if r.Batches > 0 {
		r.EffectiveBatchSize = members / float64(r.Batches)
	}
}

// Merge merges the reports of all shards of one load, with their requests. Its error says which shard is
// missing or how shards differ. A run that not all shards measured is left out, and the report is then
// partial.
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
		m.CreatedAt = slices.MinFunc([]time.Time{m.CreatedAt, r.CreatedAt}, time.Time.Compare)
		if r.Partial {
			reasons = append(reasons, fmt.Sprintf("shard %d: %s", r.Shard.Index, r.PartialReason))
		}
		m.Resumed = append(m.Resumed, r.Resumed...)
		of := map[runKey][]Request{}
		for _, q := range requests[i] {
			of[q.key()] = append(of[q.key()], q)
		}
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
		run, of, err := MergeRun(runs[k])
		if err != nil {
			return Report{}, nil, err
		}
		if len(servers) < len(reports) { // several shards share a server, and each account includes them all
			run.ServerUncachedTokens, run.ServerBusySeconds, run.ServerForwards, run.ServerSequences = nil, nil, nil, nil
		}
		m.Runs, all = append(m.Runs, run), append(all, of...)
	}
	if left > 0 {
		reasons = append(reasons, fmt.Sprintf("runs not measured by all shards and left out: %d", left))
	}
	m.Partial, m.PartialReason = len(reasons) > 0, strings.Join(reasons, "; ")
	return m, all, nil
}

// runKey identifies a run of a report.
type runKey struct {
	setting, phase string
	repeat         int
}

func (r Run) key() runKey     { return runKey{r.Setting, r.Phase, r.Repeat} }
func (r Request) key() runKey { return runKey{r.Setting, r.Phase, r.Repeat} }

// mergeable returns an error unless the reports are those of all shards of one load.
func mergeable(reports []Report) error {
	if len(reports) == 0 {
		return errors.New("no report to merge")
	}
	seen := map[int]bool{}
	for _, r := range reports {
		switch {
		case r.Shard == nil:
			return errors.New("a report is not of a shard: only reports of -shard i/n can be merged")
		case r.Shard.Of != len(reports):
			given := "1 report"
			if n := len(reports); n != 1 {
				given = fmt.Sprintf("%d reports", n)
			}
			return fmt.Errorf("shard %d is one of %d, and %s given", r.Shard.Index, r.Shard.Of, given)
		case r.Shard.Index < 0 || r.Shard.Index >= r.Shard.Of:
			return fmt.Errorf("there is no shard %d of %d", r.Shard.Index, r.Shard.Of)
		case seen[r.Shard.Index]:
			return fmt.Errorf("shard %d is given twice", r.Shard.Index)
		case r.Simulation != nil && r.Simulation.Speed > 1:
			return fmt.Errorf("shard %d is of an older loadgen, whose simulated clock was not that of its times", r.Shard.Index)
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
			{"SGLang's version", a.Server.Version, b.Server.Version},
			{"model", a.Server.Model, b.Server.Model}, {"device", a.Server.Device, b.Server.Device},
		} {
			if !reflect.DeepEqual(d.a, d.b) {
				return fmt.Errorf("shards %d and %d differ in their %s", a.Shard.Index, b.Shard.Index, d.what)
			}
		}
	}
	return nil
}
