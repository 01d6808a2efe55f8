package report

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"paceline/loadgen/phrase"
)

// Tracing says where the traces of a sweep are.
type Tracing struct {
	URL     string `json:"url"`     // of a trace, less its id
	Sampler string `json:"sampler"` // which requests have one, as OTEL_TRACES_SAMPLER says it
}

// Trace is one request that was sampled.
type Trace struct {
	ID         string  `json:"id"`              // as Jaeger has it
	Trajectory string  `json:"trajectory"`      // its name
	Seconds    float64 `json:"seconds"`         // from the send to the end
	Cause      string  `json:"cause,omitempty"` // of its failure
}

// mostTraces is how many slow and how many failed requests of a run keep their
// trace, and how many of each a report names.
const mostTraces = 5

// WorthSeeing are the slowest of the traces and those that failed, a few of each,
// the slowest first.
func WorthSeeing(all []Trace) []Trace {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b Trace) int { return cmp.Compare(b.Seconds, a.Seconds) })
	var out []Trace
	slow, failed := 0, 0
	for _, t := range all {
		switch {
		case t.Cause == "" && slow < mostTraces:
			slow++
			out = append(out, t)
		case t.Cause != "" && failed < mostTraces:
			failed++
			out = append(out, t)
		}
	}
	return out
}

// tracedRequest is a trace with its run.
type tracedRequest struct {
	Trace
	run Run
}

// traces are the slowest and the failed ones of all runs, and how many requests
// failed without a trace.
func (r Report) traces() (slow, failed []tracedRequest, unseen int) {
	for _, run := range r.Runs {
		seen := 0
		for _, t := range run.Traces {
			if t.Cause == "" {
				slow = append(slow, tracedRequest{t, run})
				continue
			}
			seen++
			failed = append(failed, tracedRequest{t, run})
		}
		unseen += max(0, run.Failed-seen)
	}
	slowest := func(a, b tracedRequest) int { return cmp.Compare(b.Seconds, a.Seconds) }
	slices.SortStableFunc(slow, slowest)
	slices.SortStableFunc(failed, slowest)
	return slow[:min(len(slow), mostTraces)], failed[:min(len(failed), mostTraces)], unseen
}

// traces names the traces that are worth a look; nothing where nothing was traced.
func (d *document) traces(r Report) {
	if r.Tracing == nil {
		return
	}
	d.heading(2, phrase.Say("Traces"))
	slow, failed, unseen := r.traces()
	d.line("Requests sampled: `%s`. Of these the slowest, and those that failed. A sampled request costs more than another.", oneLine(r.Tracing.Sampler))
	if len(slow)+len(failed) == 0 {
		d.line("No request was sampled.")
		return
	}
	var rows [][]any
	for _, t := range append(slow, failed...) {
		rows = append(rows, []any{short(t.Seconds), t.ending(), combination(t.run.Setting), phaseName(t.run.Phase), t.run.Repeat, t.Trajectory, link{t.ID, r.Tracing.URL + t.ID}})
	}
	d.table([]string{"latency (s)", "end", "setting", "phase", "repeat", "trajectory", "trace"}, rows)
	if unseen > 0 {
		d.line("%d more requests failed and are not named: not sampled, or one of many.", unseen)
	}
}

// ending is how the request ended.
func (t Trace) ending() phrase.Phrase {
	if t.Cause == "" {
		return phrase.Say("answered")
	}
	return phrase.Stored(t.Cause)
}

// terminalTraces prints the links of the same traces.
func terminalTraces(w *bytes.Buffer, r Report, l phrase.Language) {
	if r.Tracing == nil {
		return
	}
	slow, failed, _ := r.traces()
	if len(slow)+len(failed) > 0 {
		fmt.Fprintf(w, "\n%s\n", phrase.Say("Slowest and failed of the sampled requests (%s)", r.Tracing.Sampler).In(l))
	}
	for _, t := range append(slow, failed...) {
		fmt.Fprintf(w, "  %s s  %s  %s %s  %s\n", short(t.Seconds), t.ending().In(l), phaseName(t.run.Phase).In(l), combination(t.run.Setting).In(l), r.Tracing.URL+t.ID)
	}
}
