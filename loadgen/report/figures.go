package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"paceline/loadgen/chart"
	"paceline/loadgen/number"
	"paceline/loadgen/phrase"
)

// figure is a block that only report.html shows: a plot of figures that stand in
// the tables, too.
type figure struct {
	title   phrase.Phrase
	caption phrase.Phrase
	plots   func(phrase.Language) []chart.Plot // one below the other
}

// figures adds the plots.
func (d *document) figures(r Report, phases []phase, digest Digest) {
	if len(phases) == 0 {
		return
	}
	d.heading(2, phrase.Say("In pictures"))
	for _, p := range phases {
		d.add(throughputFigure(p))
	}
	for _, p := range phases {
		d.add(latencyFigure(p))
	}
	for _, p := range phases {
		if f, ok := spectrumFigure(p, digest); ok {
			d.add(f)
		}
	}
	d.add(cachedFigure(r, phases))
	d.timelines(phases, digest)
	d.slowest(r, digest)
}

// categories are the places of settings along an axis.
type categories struct {
	ticks []chart.Tick
	at    map[string]float64
}

// newCategories places the settings that the cells have in common: those of a set
// batch size stand at their size, whatever else they set.
func newCategories(cells []cell) categories {
	c := categories{at: map[string]float64{}}
	for _, one := range inOrder(cells) {
		name := axisName(one)
		if _, ok := c.at[name]; !ok {
			c.at[name] = float64(len(c.ticks)) + 0.5
			c.ticks = append(c.ticks, chart.Tick{At: c.at[name], Text: name})
		}
	}
	return c
}

// inOrder sorts cells as tables do: sizes first.
func inOrder(cells []cell) []cell {
	return slices.SortedStableFunc(slices.Values(cells), func(a, b cell) int { return place(a.mode, a.batchSize) - place(b.mode, b.batchSize) })
}

// axisName is the batch size, or the setting's name where it has none.
func axisName(c cell) string {
	if c.fixed() {
		return strconv.Itoa(c.batchSize)
	}
	return c.setting
}

// variant is what a setting of a set batch size sets besides; empty for most.
func variant(c cell) string {
	if !c.fixed() {
		return ""
	}
	return beside(c.setting)
}

// variants are those of the cells, in the order in which they come.
func variants(cells []cell) (names []string) {
	for _, c := range inOrder(cells) {
		if v := variant(c); c.fixed() && !slices.Contains(names, v) {
			names = append(names, v)
		}
	}
	if len(names) == 0 {
		names = []string{""}
	}
	return names
}

// measured are the cells that have figures.
func measured(p phase) []cell {
	return slices.DeleteFunc(slices.Clone(p.cells), func(c cell) bool { return len(c.runs) == 0 })
}

// across makes a point of each cell, and joins those of set batch sizes.
func (c categories) across(cells []cell, point func(cell) chart.Point) (points []chart.Point) {
	fixed := false
	for _, one := range inOrder(cells) {
		pt := point(one)
		pt.X, pt.Joined = c.at[axisName(one)], fixed && one.fixed()
		fixed = one.fixed()
		points = append(points, pt)
	}
	return points
}

func (c categories) plot(title, label string, l phrase.Language) chart.Plot {
	return chart.Plot{Title: title, YLabel: label, XLabel: phrase.Term("batch size").In(l), XTicks: c.ticks, XMax: float64(len(c.ticks)), YFormat: axisNumber}
}

// axisNumber writes a round number without zeros at its end.
func axisNumber(v float64) string {
	if v >= 10_000 {
		return number.Thousands(int64(math.Round(v)))
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

func throughputFigure(p phase) figure {
	title := phrase.Say("Throughput by batch size, %s", phaseName(p.name))
	cells := measured(p)
	return figure{title, phrase.Say("Median of the repeats; the bars are its %.0f %% bootstrap interval, or the range of the repeats where there are too few for one.", 100*confidence), func(l phrase.Language) []chart.Plot {
		c := newCategories(cells)
		plot := c.plot(title.In(l), phrase.Term("requests/s").In(l), l)
		for _, v := range variants(cells) {
			of := slices.DeleteFunc(slices.Clone(cells), func(c cell) bool { return variant(c) != v && (c.fixed() || v != variants(cells)[0]) })
			plot.Series = append(plot.Series, chart.Series{Name: combination(v).In(l), Points: c.across(of, func(c cell) chart.Point {
				low, high := c.interval()
				title := phrase.Say("%s: %s requests/s", c.label(), rate(c.throughput))
				if len(c.runs) > 1 {
					title = phrase.Say("%s: %s requests/s, %s", c.label(), rate(c.throughput), c.spread())
				}
				return chart.Point{Y: c.throughput, Low: low, High: high, Title: title.In(l)}
			})})
		}
		plot.Desc = describePoints(plot)
		return []chart.Plot{plot}
	}}
}

// interval is what spread says, as numbers; zeros for one run.
func (c cell) interval() (low, high float64) {
	if len(c.runs) < 2 {
		return 0, 0
	}
	if low, high, ok := medianInterval(c); ok {
		return low, high
	}
	return c.low, c.high
}

// describePoints is what the plot shows, for those who don't see it.
func describePoints(p chart.Plot) string {
	var parts []string
	for _, s := range p.Series {
		for _, pt := range s.Points {
			parts = append(parts, pt.Title)
		}
	}
	return strings.Join(parts, "; ")
}

// latencyPercentiles are the lines of the latency plot.
var latencyPercentiles = []struct {
	name string
	of   func(Run) float64
}{
	{"P50", func(r Run) float64 { return r.Latency.P50 }},
	{"P90", func(r Run) float64 { return r.Latency.P90 }},
	{"P95", func(r Run) float64 { return r.Latency.P95 }},
	{"P99", func(r Run) float64 { return r.Latency.P99 }},
}

func latencyFigure(p phase) figure {
	title := phrase.Say("Latency by batch size, %s", phaseName(p.name))
	cells := measured(p)
	return figure{title, phrase.Say("From the send to the whole answer; each percentile is the median of the repeats'."), func(l phrase.Language) []chart.Plot {
		c := newCategories(cells)
		plot := c.plot(title.In(l), phrase.Term("seconds").In(l), l)
		first := variants(cells)[0]
		of := slices.DeleteFunc(slices.Clone(cells), func(c cell) bool { return c.fixed() && variant(c) != first })
		for _, q := range latencyPercentiles {
			plot.Series = append(plot.Series, chart.Series{Name: q.name, Points: c.across(of, func(c cell) chart.Point {
				v := c.median(q.of)
				return chart.Point{Y: v, Title: phrase.Say("%s: %s %s s", c.label(), q.name, short(v)).In(l)}
			})})
		}
		plot.Desc = describePoints(plot)
		return []chart.Plot{plot}
	}}
}

// spectrumFigure plots latency against the percentile, on HdrHistogram's axis: each
// nine takes as much room as the one before.
func spectrumFigure(p phase, digest Digest) (figure, bool) {
	title := phrase.Say("Latency spectrum, %s", phaseName(p.name))
	type curve struct {
		name   phrase.Phrase
		points []spectrumPoint
	}
	var curves []curve
	for _, c := range inOrder(measured(p)) {
		if points := digest.spectrum(c.setting, p.name); len(points) > 1 && len(curves) < chart.Styles {
			curves = append(curves, curve{combination(c.setting), points})
		}
	}
	caption := phrase.Say("Each nine of the percentile takes as much room as the one before it, so that the slowest answers are seen. Each value is the median of the repeats', and a line's last is the slowest answer.")
	return figure{title, caption, func(l phrase.Language) []chart.Plot {
		plot := chart.Plot{Title: title.In(l), YLabel: phrase.Term("seconds").In(l), XLabel: phrase.Term("percentile").In(l), YFormat: axisNumber}
		var described []string
		for _, c := range curves {
			s := chart.Series{Name: c.name.In(l), Kind: chart.Line}
			for i, pt := range c.points {
				s.Points = append(s.Points, chart.Point{X: nines(pt.share), Y: pt.seconds, Joined: i > 0})
				plot.XMax = max(plot.XMax, nines(pt.share))
			}
			plot.Series = append(plot.Series, s)
			described = append(described, phrase.Say("%s: at most %s s", c.name, short(c.points[len(c.points)-1].seconds)).In(l))
		}
		for i, text := range []string{"0", "90", "99", "99.9", "99.99", "99.999", "99.9999"} {
			if float64(i) <= plot.XMax {
				plot.XTicks = append(plot.XTicks, chart.Tick{At: float64(i), Text: text})
			}
		}
		for _, between := range []float64{0.5, 0.75} {
			plot.XTicks = append(plot.XTicks, chart.Tick{At: nines(between), Text: strconv.FormatFloat(100*between, 'f', -1, 64)})
		}
		slices.SortFunc(plot.XTicks, func(a, b chart.Tick) int {
			if a.At < b.At {
				return -1
			}
			return 1
		})
		plot.Desc = strings.Join(described, "; ")
		return []chart.Plot{plot}
	}}, len(curves) > 0
}

// nines is where a share stands on the axis: 0.9 at 1, 0.99 at 2.
func nines(share float64) float64 { return -math.Log10(max(1e-9, 1-share)) }

func cachedFigure(r Report, phases []phase) figure {
	title := phrase.Say("Cached share of the prompt tokens")
	return figure{title, phrase.Say("Over all runs of a setting, as the server counted."), func(l phrase.Language) []chart.Plot {
		var all []cell
		for _, p := range phases {
			all = append(all, measured(p)...)
		}
		at := map[string]float64{}
		plot := chart.Plot{Title: title.In(l), YMax: 100, YFormat: func(v float64) string { return fmt.Sprintf("%.0f %%", v) }}
		for _, name := range settingsOf(r.Runs) {
			if slices.ContainsFunc(all, func(c cell) bool { return c.setting == name }) {
				at[name] = float64(len(at)) + 0.5
				plot.XTicks = append(plot.XTicks, chart.Tick{At: at[name], Text: combination(name).In(l)})
			}
		}
		plot.XMax = float64(len(at))
		for _, p := range phases {
			s := chart.Series{Name: phaseName(p.name).In(l), Kind: chart.Bars}
			for _, c := range inOrder(measured(p)) {
				s.Points = append(s.Points, chart.Point{X: at[c.setting], Y: 100 * c.cachedShare, Title: phrase.Say("%s, %s: %s", c.label(), phaseName(p.name), shareText(c.cachedShare)).In(l)})
			}
			plot.Series = append(plot.Series, s)
		}
		plot.Desc = describePoints(plot)
		return []chart.Plot{plot}
	}}
}

// mostTimelines is how many are shown: each is some kilobytes.
const mostTimelines = 16

// timelines shows what was under way during the first run of each setting.
func (d *document) timelines(phases []phase, digest Digest) {
	shown := 0
	for _, p := range phases {
		for _, c := range inOrder(p.cells) {
			i := slices.IndexFunc(digest.runs, func(r runDigest) bool { return r.setting == c.setting && r.phase == p.name && r.timeline != nil })
			if i < 0 || shown >= mostTimelines {
				continue
			}
			if shown == 0 {
				d.heading(2, phrase.Say("In the course of a run"))
				d.line("The first run of each setting: how many requests were under way, how many of these waited in the proxy, and how large the batches were that left it.")
			}
			shown++
			d.add(timelineFigure(digest.runs[i]))
		}
	}
}

func timelineFigure(run runDigest) figure {
	title := phrase.Say("%s, %s, repeat %d", phrase.Capital(settingName(run.setting)), phaseName(run.phase), run.repeat)
	return figure{title: title, plots: func(l phrase.Language) []chart.Plot {
		t := run.timeline
		inFlight := phrase.Say("under way").In(l)
		above := t.plot(title.In(l), 180)
		above.Series = []chart.Series{t.course(inFlight, t.inFlight, chart.Series{Kind: chart.Line, Style: 1})}
		above.Desc = phrase.Say("at most %s under way", number.Significant(slices.Max(t.inFlight), 3)).In(l)
		if len(t.batches) == 0 {
			above.XLabel = phrase.Term("seconds").In(l)
			return []chart.Plot{above}
		}
		above.Series = append(above.Series, t.course(phrase.Say("of these waiting in the proxy").In(l), t.waiting, chart.Series{Kind: chart.Area, Style: 2}))
		batches := chart.Series{Name: phrase.Say("requests in a batch").In(l), Kind: chart.Dots, Style: 3}
		largest := 0.0
		for _, b := range t.batches {
			batches.Points = append(batches.Points, chart.Point{X: b.seconds, Y: b.size})
			largest = max(largest, b.size)
		}
		below := t.plot(batches.Name, 110)
		below.XLabel = phrase.Term("seconds").In(l)
		below.Series = []chart.Series{batches}
		below.Desc = phrase.Say("batches of at most %s", number.Significant(largest, 3)).In(l)
		return []chart.Plot{above, below}
	}}
}

func (t *timeline) plot(title string, height int) chart.Plot {
	return chart.Plot{Title: title, XMax: t.seconds, XTicks: chart.Ticks(0, t.seconds, 6, axisNumber), Height: height, YFormat: axisNumber, Whole: true}
}

// course fills in the points of a series that lasts for the whole run.
func (t *timeline) course(name string, values []float64, s chart.Series) chart.Series {
	s.Name = name
	for i, v := range values {
		s.Points = append(s.Points, chart.Point{X: (float64(i) + 0.5) * t.seconds / timelineParts, Y: v, Joined: i > 0})
	}
	return s
}

// slowest names the slowest requests of all, with what is known of each.
func (d *document) slowest(r Report, digest Digest) {
	if len(digest.slowest) == 0 {
		return
	}
	d.heading(2, phrase.Say("Slowest requests"))
	var rows [][]any
	for _, q := range digest.slowest {
		var trace any = "–"
		if q.TraceID != "" && r.Tracing != nil {
			trace = link{q.TraceID, r.Tracing.URL + q.TraceID}
		}
		batch := "–"
		if q.BatchSize > 0 {
			batch = strconv.Itoa(q.BatchSize)
		}
		rows = append(rows, []any{
			short(q.LatencySeconds), short(q.QueueWaitSeconds), combination(q.Setting), phaseName(q.Phase), q.Repeat, q.Trajectory,
			number.Significant(q.SentSeconds, 3), batch, number.Thousands(q.PromptTokens), number.Thousands(q.CachedTokens), trace,
		})
	}
	d.table([]string{"latency (s)", "wait in the proxy (s)", "setting", "phase", "repeat", "trajectory", "sent at (s)", "requests in its batch", "prompt tokens", "cached tokens", "trace"}, rows)
	if r.Tracing == nil {
		d.line("Nothing was traced: with `OTEL_EXPORTER_OTLP_ENDPOINT` set, sampled requests have a link to their trace here.")
	}
}
