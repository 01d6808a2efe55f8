package render

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"paceline/loadgen/chart"
	"paceline/loadgen/number"
	"paceline/loadgen/report/figures"
)

// plotter draws the figures of the tables, and single requests.
type plotter struct {
	figures.Figures
	*Language
}

// picture draws the plot that layout.tmpl names.
func (p plotter) picture(name string) picture {
	kind, of, _ := strings.Cut(name, " ")
	caption := p.line(kind+" caption", nil)
	if kind == "curve" {
		i := slices.IndexFunc(p.Searches, func(s figures.Searched) bool { return s.Name == of })
		return newPicture(kind+"-"+strconv.Itoa(i), p.line(kind, of), caption, p.curves(p.Searches[i]))
	}
	i := slices.IndexFunc(p.Phases, func(q figures.Phase) bool { return q.Name == of })
	return newPicture(kind+"-"+strconv.Itoa(i), p.line(kind, of), caption, p.throughput(p.Phases[i]))
}

// axis places settings along an axis.
type axis struct{ names []string }

// place returns the position of a name, and adds the name if it is new.
func (a *axis) place(name string) float64 {
	i := slices.Index(a.names, name)
	if i < 0 {
		i, a.names = len(a.names), append(a.names, name)
	}
	return float64(i) + 0.5
}

// bySize returns a point for each cell, and joins those of batch sizes. A cell's position is its size,
// or its setting's name if it has no size.
func (a *axis) bySize(cells []figures.Cell, point func(figures.Cell) chart.Point) (points []chart.Point) {
	fixed := false
	for _, c := range cells {
		name := c.Setting
		if c.Fixed() {
			name = strconv.Itoa(c.BatchSize)
		}
		pt := point(c)
		pt.X, pt.Joined = a.place(name), fixed && c.Fixed()
		fixed = c.Fixed()
		points = append(points, pt)
	}
	return points
}

// newAxis returns an axis with the positions of all cells, so that all series share them.
func newAxis(cells []figures.Cell) *axis {
	a := &axis{}
	a.bySize(cells, func(figures.Cell) chart.Point { return chart.Point{} })
	return a
}

func (p plotter) plot(a *axis, label string) chart.Plot {
	size := p.line("batch size", nil)
	return chart.Plot{YLabel: p.line(label, nil), XLabel: size, Names: a.names, YFormat: axisNumber}
}

// axisNumber formats a round number without trailing zeros.
func axisNumber(v float64) string {
	if v >= 10_000 {
		return number.Thousands(int64(math.Round(v)))
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// curves lists the combinations of the other dimensions, in order of appearance. The first curve also
// shows the settings without a size.
func curves(cells []figures.Cell) (names []string) {
	for _, c := range cells {
		if c.Fixed() && !slices.Contains(names, c.Beside()) {
			names = append(names, c.Beside())
		}
	}
	if len(names) == 0 {
		return []string{""}
	}
	return names
}

// throughput plots a series for each combination of the other dimensions, as many as have a colour and a
// shape of their own.
func (p plotter) throughput(phase figures.Phase) chart.Plot {
	cells := phase.Measured()
	axis, names := newAxis(cells), curves(cells)
	plot := p.plot(axis, "requests/s")
	for i, name := range names[:min(len(names), chart.Styles)] {
		of := slices.DeleteFunc(slices.Clone(cells), func(c figures.Cell) bool { return c.Fixed() && c.Beside() != name || !c.Fixed() && i > 0 })
		plot.Series = append(plot.Series, chart.Series{Name: p.setting(name), Points: axis.bySize(of, func(c figures.Cell) chart.Point {
			pt, interval := chart.Point{Y: c.Throughput, Title: p.line("throughput point", c)}, c.Interval()
			switch {
			case interval != nil:
				pt.Low, pt.High = interval.Low, interval.High
			case len(c.Runs) > 1:
				pt.Low, pt.High = c.Low, c.High
			}
			return pt
		})})
	}
	return plot
}

type ratePoint struct {
	Setting string
	figures.Tried
}

// curves plots the latency of each setting against the rate, up to three times the bound.
func (p plotter) curves(s figures.Searched) chart.Plot {
	bound := p.Config.Objective.Seconds
	plot := chart.Plot{XLabel: p.line("rate", nil), YLabel: p.line("seconds", nil), YFormat: axisNumber, YMost: 3 * bound, Bound: bound}
	for _, f := range s.Found[:min(len(s.Found), chart.Styles)] {
		series := chart.Series{Name: p.setting(f.Setting)}
		for i, r := range f.Rates {
			title := p.line("curve point", ratePoint{f.Setting, r})
			series.Points = append(series.Points, chart.Point{X: r.Rate, Y: r.Seconds, Joined: i > 0, Title: title})
		}
		plot.Series = append(plot.Series, series)
	}
	return plot
}
