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

// Plot is one plot. A field with its zero value is left out.
type Plot struct {
	Title string // for readers who do not see the picture

	XLabel, YLabel string
	Names          []string // under the horizontal axis; name i is at i + 0.5. Without names it has numbers from 0
	YMost          float64  // end of the vertical axis at most; points above it are drawn there. 0: as high as the points
	Bound          float64  // of the vertical axis, drawn as a line; 0: none
	YFormat        func(float64) string

	Series []Series
}

// Width is the width of every picture, in its own units. A page may scale it; text stays readable at
// three quarters.
const Width = 480

// height is that of every picture, in the units of Width.
const height = 240

// Tick is a place on an axis.
type Tick struct {
	At   float64
	Text string
}

// Series is a series of values. Its index in Plot.Series decides its colour and shape.
type Series struct {
	Name   string
	Points []Point
}

// Point is one value.
type Point struct {
	X, Y      float64
	Low, High float64 // an interval around Y; none if both are 0
	Joined    bool    // a line leads here from the point before
	Title     string  // shown while pointed at
}

// Described returns the titles of all points, for readers who do not see the picture.
func (p Plot) Described() string {
	var titles []string
	for _, s := range p.Series {
		for _, pt := range s.Points {
			titles = append(titles, pt.Title)
		}
	}
	return strings.Join(titles, "; ")
}

// longest returns the number of characters of the longest name.
func (p Plot) longest() (n int) {
	for _, name := range p.Names {
		n = max(n, len([]rune(name)))
	}
	return n
}

// Turned reports whether the names must be turned to fit.
func (p Plot) Turned() bool {
	return float64(p.longest()*len(p.Names))*charWidth > Width-68
}

// reach returns the end of the vertical axis and the step between its ticks, for about n ticks.
func (p Plot) reach(n float64) (top, step float64) {
	maxY := 0.0
	for _, s := range p.Series {
		for _, pt := range s.Points {
			maxY = max(maxY, drawable(pt.Y), drawable(pt.High))
		}
	}
	if !(maxY > 1e-9) || maxY > 1e15 { // no real measurement
		return 1, 1
	}
	if p.YMost > 0 {
		maxY = min(maxY, p.YMost)
	}
	step = niceStep(maxY / n)
	return step * math.Ceil(maxY/step-1e-9), step
}

// width returns the end of the horizontal axis and the step between its ticks, for about n ticks.
func (p Plot) width(n float64) (end, step float64) {
	if len(p.Names) > 0 {
		return float64(len(p.Names)), 1
	}
	maxX := 0.0
	for _, s := range p.Series {
		for _, pt := range s.Points {
			maxX = max(maxX, drawable(pt.X))
		}
	}
	if !(maxX > 1e-9) {
		return 1, 1
	}
	step = niceStep(maxX / n)
	return step * math.Ceil(maxX/step-1e-9), step
}

// drawable returns v, or 0 if it can't be drawn.
func drawable(v float64) float64 {
	if math.IsNaN(v) || math.Abs(v) > 1e15 {
		return 0
	}
	return v
}

// niceStep returns the smallest of 1, 2, 2.5 and 5 times a power of ten that is at least minStep.
func niceStep(minStep float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(minStep)))
	for _, f := range []float64{1, 2, 2.5, 5} {
		if f*power >= minStep*(1-1e-9) {
			return f * power
		}
	}
	return 10 * power
}
