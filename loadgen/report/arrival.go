package report

import (
	"cmp"
	"fmt"
	"slices"

	"paceline/loadgen/number"
	"paceline/loadgen/phrase"
	"paceline/loadgen/stats"
)

// Arrival is when the conversations of an open loop begin, the same for every setting
// of a repeat.
type Arrival struct {
	Process    string  `json:"process"`               // constant, poisson or recorded
	Rate       float64 `json:"rate,omitempty"`        // conversations per second; groups of copies where there are rollouts
	RateEnd    float64 `json:"rate_end,omitempty"`    // to which it goes in a straight line until the last
	TraceSpeed float64 `json:"trace_speed,omitempty"` // of recorded: how much faster than recorded

	MostOutstanding  int     `json:"most_outstanding"`   // conversations under way at once
	WhenFull         string  `json:"when_full"`          // drop or wait: what becomes of one that is due beyond that
	WarmUpSeconds    float64 `json:"warm_up_seconds"`    // requests due before it is over are in no figure
	LateAfterSeconds float64 `json:"late_after_seconds"` // from which on a request counts as late
}

// Arrivals is how a run's requests met the times at which they were due. In a closed
// loop a first turn is due when a caller is free to send it; everywhere a further turn
// is due when the one before was answered and its pause is over.
type Arrivals struct {
	Dropped      int `json:"dropped"`        // due and not sent, because most_outstanding were under way
	Late         int `json:"late"`           // sent more than late_after_seconds after they were due
	LateByItself int `json:"late_by_itself"` // of these, without what they waited for most_outstanding: the generator's doing
	WarmUp       int `json:"warm_up"`        // sent before the warm-up was over, and measured nowhere

	WarmUpSeconds float64 `json:"warm_up_seconds,omitempty"` // from started_at to where wall_seconds begin

	LatencyFromIntended stats.Summary `json:"latency_from_intended_seconds"` // from when due to the answer
	SendDelay           stats.Summary `json:"send_delay_seconds"`            // from when due to the send
	OwnDelay            stats.Summary `json:"own_delay_seconds"`             // of that, what was not waiting for most_outstanding

	// The same, counted in histograms that merge exactly.
	LatencyFromIntendedHistogram *stats.Histogram `json:"latency_from_intended_histogram,omitempty"`
	SendDelayHistogram           *stats.Histogram `json:"send_delay_histogram,omitempty"`
	OwnDelayHistogram            *stats.Histogram `json:"own_delay_histogram,omitempty"`
}

// SchedulerWait is a distribution, in real seconds, by the upper edges of the runtime's
// buckets.
type SchedulerWait struct {
	P50 float64 `json:"p50"` // median
	P99 float64 `json:"p99"` // 99th percentile
	Max float64 `json:"max"` // longest
}

// late is how many requests were sent late.
func (r Run) late() int {
	if r.Arrivals == nil {
		return 0
	}
	return r.Arrivals.Late
}

// warmUpSeconds is what of the run came before its figures.
func (r Run) warmUpSeconds() float64 {
	if r.Arrivals == nil {
		return 0
	}
	return r.Arrivals.WarmUpSeconds
}

// fromDue is the latency from when requests were due; empty where not told.
func (r Run) fromDue() stats.Summary {
	if r.Arrivals == nil {
		return stats.Summary{}
	}
	return r.Arrivals.LatencyFromIntended
}

// otherText says what is sent where it is not a number of turns of each trajectory.
func (s Source) otherText() (phrase.Phrase, bool) {
	switch {
	case s.Kind == "trace":
		return phrase.Say("none; %s", phrase.Count(s.Count, "%s recorded request", "%s recorded requests")), true
	case len(s.Mix) > 0:
		var kinds []phrase.Phrase
		for _, kind := range sortedKeys(s.Mix) {
			kinds = append(kinds, phrase.Say("%s as %s", number.Thousands(s.Mix[kind]), kindOfLoad(kind)))
		}
		text := s.staggered(phrase.Say("%s: %s", number.Thousands(s.Count), phrase.List(kinds)))
		return phrase.Say("%s: %s requests", text, number.Thousands(s.Requests)), true
	}
	return phrase.Phrase{}, false
}

// kindOfLoad names one of a mix.
func kindOfLoad(kind string) phrase.Phrase {
	switch kind {
	case "first":
		return phrase.Say("first")
	case "turns":
		return phrase.Say("turns")
	case "rollouts":
		return phrase.Say("rollouts")
	}
	return phrase.Name(kind)
}

// staggered adds how far apart copies begin.
func (s Source) staggered(text phrase.Phrase) phrase.Phrase {
	if s.StaggerSeconds > 0 {
		return phrase.Say("%s, begun %s s apart", text, given(s.StaggerSeconds))
	}
	return text
}

// Dropped is how many requests were due and not sent.
func (r Run) Dropped() int {
	if r.Arrivals == nil {
		return 0
	}
	return r.Arrivals.Dropped
}

// LoadText says when requests are sent.
func (c Config) LoadText() phrase.Phrase {
	tokens := phrase.Count(c.MaxNewTokens, "%s new token", "%s new tokens")
	a := c.Arrival
	switch {
	case a == nil:
		return phrase.Say("closed loop, %s, %s for each prompt", phrase.Count(c.Concurrency, "%s caller", "%s callers"), tokens)
	case a.WhenFull == "drop":
		return phrase.Say("open loop, %s; at most %s under way, beyond which they are dropped, %s for each prompt", a.text(), number.Thousands(a.MostOutstanding), tokens)
	}
	return phrase.Say("open loop, %s; at most %s under way, beyond which they wait, %s for each prompt", a.text(), number.Thousands(a.MostOutstanding), tokens)
}

func (a Arrival) text() phrase.Phrase {
	if a.Process == "recorded" {
		return phrase.Say("the recorded times at %s times their speed", given(a.TraceSpeed))
	}
	process := phrase.Say("equal distances")
	if a.Process == "poisson" {
		process = phrase.Say("Poisson arrivals")
	}
	if a.Rate == a.RateEnd {
		return phrase.Say("%s, %s/s", process, given(a.Rate))
	}
	return phrase.Say("%s, from %s/s to %s/s", process, given(a.Rate), given(a.RateEnd))
}

// arrivals sets the latencies from when requests were due beside those from the send.
func (d *document) arrivals(r Report, phases []phase) {
	if r.Config.Arrival == nil {
		return
	}
	var rows [][]any
	for _, p := range phases {
		for _, c := range p.byLatency() {
			for _, run := range c.all {
				if a := run.Arrivals; a != nil {
					rows = append(rows, arrivalRow(c, run, *a))
				}
			}
		}
	}
	if len(rows) == 0 {
		return
	}
	d.heading(2, phrase.Say("Latency from when requests were due"))
	d.line("While the server keeps up, an open loop's throughput is what was offered: compare latencies. That from the due time holds what a caller would have waited; " +
		"where it is longer than that from the send, requests were held up before they were sent.")
	d.table([]string{
		"batch size", "phase", "repeat", "from due: mean (s)", "P50 (s)", "P95 (s)", "P99 (s)", "max (s)", "from send: P50 (s)", "P99 (s)",
		"send delay P50 (s)", "P99 (s)", "late", "dropped",
	}, rows)
}

func arrivalRow(c cell, run Run, a Arrivals) []any {
	l, s, delay := a.LatencyFromIntended, run.Latency, a.SendDelay
	return []any{
		combination(c.setting), phaseName(run.Phase), runText(run), timeText(l, l.Mean), timeText(l, l.P50), timeText(l, l.P95), timeText(l, l.P99), timeText(l, l.Max),
		timeText(s, s.P50), timeText(s, s.P99), timeText(delay, delay.P50), timeText(delay, delay.P99),
		number.Thousands(a.Late), number.Thousands(a.Dropped),
	}
}

const (
	// slowShare of the requests late by loadgen's own doing is more than chance.
	slowShare = 0.01
	// slowWaitShare of the median latency, spent waiting for a processor: then a good
	// part of a latency may be loadgen's.
	slowWaitShare = 0.1
)

// arrivalNotes say what was left out, and where the generator may be in the figures.
func (r Report) arrivalNotes() []phrase.Phrase {
	var out []phrase.Phrase
	if r.Source.Kind == "trace" {
		out = append(out, phrase.Say("The trace tells lengths and which blocks are alike; the prompts are made to that, of words that mean nothing. The recorded output lengths are not generated."))
	}
	if n := r.Config.WarmUpPrompts; n > 0 {
		out = append(out, phrase.Say("Warm-up: %s before the first run, in no figure.", phrase.Count(n, "%s prompt", "%s prompts")))
	}
	warm, dropped, late, itself, due := 0, 0, 0, 0, 0
	var slow []phrase.Phrase
	for _, run := range r.Runs {
		a := run.Arrivals
		if a == nil {
			continue
		}
		warm, dropped, late, itself, due = warm+a.WarmUp, dropped+a.Dropped, late+a.Late, itself+a.LateByItself, due+a.SendDelay.Count
		if float64(a.LateByItself) > slowShare*float64(a.SendDelay.Count) || run.slowScheduler(r.speed()) {
			slow = append(slow, runLabel(run))
		}
	}
	if a := r.Config.Arrival; a != nil {
		if a.WarmUpSeconds > 0 {
			out = append(out, phrase.Say("Warm-up: requests due in the first %s s of each run are in no figure: %s.", given(a.WarmUpSeconds), phrase.Count(warm, "%s request", "%s requests")))
		}
		if a.Process == "recorded" {
			out = append(out, phrase.Say("Requests are sent when they are due, the same in every run."))
		} else {
			out = append(out, phrase.Say("Conversations begin when they are due; their further turns follow their answers. All settings of a repeat have the same arrivals, each repeat has others."))
		}
		out = append(out, phrase.Say("Of %s sent %s late, more than %s s after they were due; %s of them by loadgen's own doing.", phrase.Count(due, "%s request", "%s requests"), number.Thousands(late), given(a.LateAfterSeconds), number.Thousands(itself)))
	}
	if dropped > 0 {
		out = append(out, phrase.Say("Dropped: %s due while as many conversations as allowed were under way, and not sent. The server had less load than the rate says.", phrase.Count(dropped, "%s request", "%s requests")))
	}
	if len(slow) > 0 {
		out = append(out, phrase.Say("Loadgen itself was slow in %s: it sent late, or its goroutines waited for a processor for over %.0f %% of the median latency. Part of these latencies is its own and not the server's.", phrase.List(slow), 100*slowWaitShare))
	}
	return out
}

// slowScheduler says whether loadgen's goroutines waited so long for a processor that
// its latencies tell of that. speed is simulated seconds per real one.
func (r Run) slowScheduler(speed float64) bool {
	return r.SchedulerWait != nil && r.Latency.Count > 0 && r.SchedulerWait.P99*speed > slowWaitShare*r.Latency.P50
}

// generator tells what the runs cost loadgen's own process.
func (d *document) generator(r Report) {
	var rows [][]any
	for _, run := range r.Runs {
		if run.ProcessCPUSeconds == nil && run.SchedulerWait == nil {
			continue
		}
		row := []any{combination(run.Setting), phaseName(run.Phase), runText(run), "–", "–", "–", "–", "–", "–"}
		if cpu := run.ProcessCPUSeconds; cpu != nil && run.WallClockSeconds > 0 {
			row[3], row[4] = short(*cpu), fmt.Sprintf("%.2f", *cpu/run.WallClockSeconds)
		}
		if w := run.SchedulerWait; w != nil {
			row[5], row[6] = short(w.P50), short(w.P99)
		}
		if a := run.Arrivals; a != nil {
			row[7], row[8] = timeText(a.OwnDelay, a.OwnDelay.P99), timeText(a.OwnDelay, a.OwnDelay.Max)
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return
	}
	d.heading(2, phrase.Say("The load generator itself"))
	d.line("Loadgen's process, with all that it embeds: its CPU time, how long its goroutines waited for a processor (both in real time), and how long after it could send a request it sent it.")
	d.table([]string{
		"batch size", "phase", "repeat", "CPU time (s, real)", "CPUs busy", "wait for a processor P50 (s, real)", "P99 (s, real)", "own send delay P99 (s)", "max (s)",
	}, rows)
}

// recommend says what to take: in a closed loop by throughput, in an open one, where that
// is what was offered, by latency.
func (r Report) recommend(p phase) phrase.Phrase {
	if r.Config.Arrival == nil {
		return p.recommendation()
	}
	cells := p.soonest()
	if len(cells) == 0 {
		return phrase.Say("no setting has figures that compare, so there is nothing to recommend.")
	}
	first := cells[0]
	text := phrase.Say("under this load %s answers soonest, %s s after a request was due on average (P99 %s s).", settingName(first.setting), short(first.meanFromDue()), short(first.p99FromDue()))
	if len(cells) == 1 {
		return text
	}
	next := cells[1]
	chance, ok := stats.DifferenceByChance(first.fromDue(), next.fromDue())
	name, mean := settingName(next.setting), short(next.meanFromDue())
	switch {
	case !ok:
		return phrase.Sentences(text, phrase.Say("There are not enough repeats to tell it from the next, %s (%s s).", name, mean))
	case chance <= byChance+1e-9:
		return phrase.Sentences(text, phrase.Say("The repeats tell it apart from the next, %s (%s s).", name, mean))
	}
	return phrase.Sentences(text, phrase.Say("It can't be told apart from the next, %s (%s s).", name, mean))
}

// soonest are the cells that compare, that of the lowest latency from when due first.
func (p phase) soonest() []cell {
	cells := slices.DeleteFunc(slices.Clone(p.cells), func(c cell) bool { return !c.ranked || len(c.fromDue()) == 0 })
	slices.SortStableFunc(cells, func(a, b cell) int { return cmp.Compare(a.meanFromDue(), b.meanFromDue()) })
	return cells
}

// byLatency are all cells, those that compare first and by their latency.
func (p phase) byLatency() []cell {
	cells := p.soonest()
	for _, c := range p.cells {
		if !c.ranked || len(c.fromDue()) == 0 {
			cells = append(cells, c)
		}
	}
	return cells
}

// fromDue are the mean latencies of a cell's runs, from when requests were due.
func (c cell) fromDue() []float64 {
	return c.dueFigures(func(s stats.Summary) float64 { return s.Mean })
}
func (c cell) meanFromDue() float64 { return stats.Median(c.fromDue()) }
func (c cell) p99FromDue() float64 {
	return stats.Median(c.dueFigures(func(s stats.Summary) float64 { return s.P99 }))
}

func (c cell) dueFigures(of func(stats.Summary) float64) []float64 {
	var all []float64
	for _, run := range c.runs {
		if due := run.fromDue(); due.Count > 0 {
			all = append(all, of(due))
		}
	}
	return all
}

// settled is a with finite numbers only.
func (a Arrivals) settled(r *Run) *Arrivals {
	r.settleSummary("latency_from_intended_seconds", &a.LatencyFromIntended)
	r.settleSummary("send_delay_seconds", &a.SendDelay)
	r.settleSummary("own_delay_seconds", &a.OwnDelay)
	return &a
}
