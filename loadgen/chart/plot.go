// Package chart draws plots as SVG. A browser shows them without a script and without any
// other file, on a screen of any width and on paper.
//
// The page sets colours and fonts: every mark has a class (s0, s1, … for the series,
// axis, grid). Each series also has a shape of its own, so that no reader depends on
// colour. The package does not know what was measured. Read plot.go first (what a plot
// is), then svg.go and svg.tmpl (how it is drawn).
package chart

import (
	"math"
	"strings"
)

// Plot is one plot. The zero value of a field leaves that out.
type Plot struct {
	Title string // for readers who do not see the picture
	Desc  string // the same; the titles of all points if empty

	XLabel, YLabel string
	XTicks         []Tick // in increasing order; those that don't fit are left out
	XMin, XMax     float64
	YMax           float64 // 0: as much as the series need; below begins at 0
	Whole          bool    // the vertical axis has whole numbers only
	YFormat        func(float64) string

	Series []Series
	Height int // of the picture, in the units of Width; 0: DefaultHeight
}

// Width of every picture, in its own units. A page shows it larger or smaller;
// text stays readable at three quarters.
const Width = 480

// DefaultHeight of a picture.
const DefaultHeight = 300

// Tick is a place on the horizontal axis.
type Tick struct {
	At   float64
	Text string
}

// Kind is how a series is drawn.
type Kind string

// The kinds.
const (
	Marked Kind = ""     // points, and lines between neighbours that are Joined
	Line   Kind = "line" // a line without points
	Area   Kind = "area" // the same, filled down to 0
	Dots   Kind = "dots" // small points
	Bars   Kind = "bars" // a bar from 0 for each point
)

// Series is values that belong together. Its place in Plot.Series, or Style where
// it is set, gives it its colour and shape.
type Series struct {
	Name   string
	Kind   Kind
	Style  int // from 1; 0: as its place
	Points []Point
}

// Point is one value.
type Point struct {
	X, Y      float64
	Low, High float64 // an interval around Y; none if both are 0
	Joined    bool    // a line leads here from the point before
	Title     string  // shown while pointed at
}

// Style is the series' number in colours and shapes, from 0.
func (p Plot) Style(i int) int {
	if s := p.Series[i].Style; s > 0 {
		return s - 1
	}
	return i
}

// points lists the titles of all points.
func (p Plot) points() string {
	var titles []string
	for _, s := range p.Series {
		for _, pt := range s.Points {
			titles = append(titles, pt.Title)
		}
	}
	return strings.Join(titles, "; ")
}

// maxTick returns the number of characters of the longest label under the plot.
func (p Plot) maxTick() (n int) {
	for _, t := range p.XTicks {
		n = max(n, len([]rune(t.Text)))
	}
	return n
}

// Names reports whether the ticks are names and not places on a scale of numbers: each
// is half a step from the edge.
func (p Plot) Names() bool {
	return len(p.XTicks) > 0 && p.XTicks[0].At == p.XMin+0.5 && p.XMax-p.XMin == float64(len(p.XTicks))
}

// Turned reports whether the labels under the plot must be turned to fit. Only names
// are; numbers are thinned out.
func (p Plot) Turned() bool {
	return p.Names() && float64(p.maxTick())*charWidth > float64(Width-68)/float64(len(p.XTicks))
}

// reach returns the end of the vertical axis, and the step between its ticks. There are
// about some ticks.
func (p Plot) reach(some float64) (top, step float64) {
	most := p.YMax
	if most <= 0 {
		for _, s := range p.Series {
			for _, pt := range s.Points {
				most = max(most, shown(pt.Y), shown(pt.High))
			}
		}
	}
	if !(most > 1e-9) || most > 1e15 { // nothing that anybody measures
		return 1, 1
	}
	step = niceStep(most / some)
	if p.Whole {
		step = math.Ceil(step)
	}
	return step * math.Ceil(most/step-1e-9), step
}

// shown is a value that can be drawn.
func shown(v float64) float64 {
	if math.IsNaN(v) || math.Abs(v) > 1e15 {
		return 0
	}
	return v
}

// niceStep is the least of 1, 2, 2.5 and 5 times a power of ten that is not below
// least.
func niceStep(least float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(least)))
	for _, f := range []float64{1, 2, 2.5, 5} {
		if f*power >= least*(1-1e-9) {
			return f * power
		}
	}
	return 10 * power
}

// Ticks are round places from min to max, some of them.
func Ticks(low, high float64, some int, text func(float64) string) (ticks []Tick) {
	if !(high > low) || some < 1 || math.IsInf(high-low, 0) {
		return nil
	}
	step := niceStep((high - low) / float64(some))
	for i := math.Ceil(low/step - 1e-9); i*step <= high+step*1e-9 && len(ticks) <= 2*some+1; i++ {
		at := i*step + 0 // and never -0
		ticks = append(ticks, Tick{at, text(at)})
	}
	return ticks
}
