package chart

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

// frame is where the values lie within the picture.
type frame struct {
	left, right, top, bottom float64 // edges
	xMin, xMax, yMax         float64
}

func (f frame) x(v float64) float64 {
	return f.left + (shown(v)-f.xMin)/(f.xMax-f.xMin)*(f.right-f.left)
}

func (f frame) y(v float64) float64 {
	return f.bottom - min(1, max(0, shown(v)/f.yMax))*(f.bottom-f.top)
}

// drawing is SVG in the making.
type drawing struct {
	strings.Builder
	frame
}

func (d *drawing) add(format string, args ...any) { fmt.Fprintf(&d.Builder, format, args...) }

// tenth writes a place in the picture: finer than a tenth of a unit nobody sees.
func tenth(v float64) string {
	text := strconv.FormatFloat(v, 'f', 1, 64)
	return strings.TrimSuffix(text, ".0")
}

// mostTicks on the vertical axis.
const mostTicks = 12

// charWidth is that of a tick's text, at most, for what fits beside each other.
const charWidth = 6.5

// SVG draws the plot. id must be the page's only one of that name; all text is
// escaped.
func (p Plot) SVG(id string) string {
	height := float64(p.Height)
	if height == 0 {
		height = DefaultHeight
	}
	turned := p.turned()
	foot := 40.0
	if turned {
		foot = 34 + 0.72*charWidth*float64(p.longestTick())
	}
	if p.XLabel == "" {
		foot -= 14
	}
	head := 26.0
	if p.YLabel == "" {
		head = 10
	}
	yMax, step := p.top(max(1, min(5, math.Floor((height-head-foot)/28))))
	d := &drawing{frame: frame{left: 54, right: Width - 14, top: head, bottom: height - foot, xMin: p.XMin, xMax: p.XMax, yMax: yMax}}
	if d.xMax <= d.xMin {
		d.xMax = d.xMin + 1
	}
	d.add(`<svg viewBox="0 0 %d %s" role="img" aria-labelledby="%s-t %s-d"><title id="%s-t">%s</title><desc id="%s-d">%s</desc>`,
		Width, tenth(height), id, id, id, html.EscapeString(p.Title), id, html.EscapeString(p.Desc))
	d.yAxis(p, step)
	d.xAxis(p, height, turned)
	for i, s := range p.Series {
		d.series(p, i, s)
	}
	d.add(`</svg>`)
	return d.String()
}

func (d *drawing) yAxis(p Plot, step float64) {
	format := p.YFormat
	if format == nil {
		format = func(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }
	}
	for i := 0; i <= mostTicks && float64(i)*step <= d.yMax*(1+1e-9); i++ {
		v := float64(i) * step
		class := "grid"
		if i == 0 {
			class = "axis"
		}
		d.add(`<path class="%s" d="M%s %sH%s"/><text class="tick" x="%s" y="%s" text-anchor="end">%s</text>`,
			class, tenth(d.left), tenth(d.y(v)), tenth(d.right), tenth(d.left-6), tenth(d.y(v)+4), html.EscapeString(format(v)))
	}
	if p.YLabel != "" {
		d.add(`<text class="label" x="4" y="13">%s</text>`, html.EscapeString(p.YLabel))
	}
}

// longestTick is the number of characters of the longest label under the plot.
func (p Plot) longestTick() (n int) {
	for _, t := range p.XTicks {
		n = max(n, len([]rune(t.Text)))
	}
	return n
}

// turned says whether the labels under the plot must be turned to fit: only those
// of names are, numbers are thinned out.
func (p Plot) turned() bool {
	if len(p.XTicks) == 0 {
		return false
	}
	return p.names() && float64(p.longestTick())*charWidth > float64(Width-68)/float64(len(p.XTicks))
}

// names says whether the ticks are names and not places on a scale of numbers:
// each half a step from the edge.
func (p Plot) names() bool {
	return len(p.XTicks) > 0 && p.XTicks[0].At == p.XMin+0.5 && p.XMax-p.XMin == float64(len(p.XTicks))
}

func (d *drawing) xAxis(p Plot, height float64, turned bool) {
	free := d.left - 20
	for _, t := range p.XTicks {
		x := d.x(t.At)
		half := charWidth * float64(len([]rune(t.Text))) / 2
		switch {
		case turned:
			d.add(`<text class="tick" text-anchor="end" transform="translate(%s %s)rotate(-42)">%s</text>`, tenth(x+4), tenth(d.bottom+14), html.EscapeString(t.Text))
		case x-half >= free:
			d.add(`<text class="tick" x="%s" y="%s" text-anchor="middle">%s</text>`, tenth(min(x, Width-half)), tenth(d.bottom+16), html.EscapeString(t.Text))
			free = x + half + charWidth
		}
		if !p.names() {
			d.add(`<path class="axis" d="M%s %sv4"/>`, tenth(x), tenth(d.bottom))
		}
	}
	if p.XLabel != "" {
		d.add(`<text class="label" x="%s" y="%s" text-anchor="middle">%s</text>`, tenth((d.left+d.right)/2), tenth(height-4), html.EscapeString(p.XLabel))
	}
}

func (d *drawing) series(p Plot, i int, s Series) {
	style := p.Style(i)
	d.add(`<g class="s%d">`, style%Styles)
	switch s.Kind {
	case Bars:
		d.bars(p, i, s)
	case Dots:
		for _, pt := range s.Points {
			d.add(`<circle class="dot" cx="%s" cy="%s" r="2"/>`, tenth(d.x(pt.X)), tenth(d.y(pt.Y)))
		}
	case Line, Area:
		d.path(s)
	default:
		d.path(s)
		for _, pt := range s.Points {
			d.point(pt, style)
		}
	}
	d.add(`</g>`)
}

// path draws the lines between points that are joined.
func (d *drawing) path(s Series) {
	var line strings.Builder
	for i, pt := range s.Points {
		switch {
		case i > 0 && pt.Joined:
			line.WriteString("L")
		case i+1 < len(s.Points) && s.Points[i+1].Joined:
			line.WriteString("M")
		default:
			continue
		}
		line.WriteString(tenth(d.x(pt.X)) + " " + tenth(d.y(pt.Y)))
	}
	if line.Len() == 0 {
		return
	}
	if s.Kind == Area {
		first, last := s.Points[0], s.Points[len(s.Points)-1]
		d.add(`<path class="area" d="%sL%s %sL%s %sZ"/>`, line.String(), tenth(d.x(last.X)), tenth(d.bottom), tenth(d.x(first.X)), tenth(d.bottom))
	}
	d.add(`<path class="line" d="%s"/>`, line.String())
}

func (d *drawing) point(pt Point, style int) {
	x, y := d.x(pt.X), d.y(pt.Y)
	d.add(`<g class="point"><title>%s</title>`, html.EscapeString(pt.Title))
	if pt.Low != 0 || pt.High != 0 {
		d.add(`<path class="whisker" d="M%s %sV%sm-4 0h8m-8 %sh8"/>`, tenth(x), tenth(d.y(pt.Low)), tenth(d.y(pt.High)), tenth(d.y(pt.Low)-d.y(pt.High)))
	}
	d.add(`<path class="mark" d="%s"/></g>`, Mark(style, x, y))
}

func (d *drawing) bars(p Plot, i int, s Series) {
	groups, place := 0, 0
	for j, other := range p.Series {
		if other.Kind == Bars {
			if j == i {
				place = groups
			}
			groups++
		}
	}
	width := 0.76 * (d.x(d.xMin+1) - d.left) / float64(groups)
	for _, pt := range s.Points {
		left := d.x(pt.X) + (float64(place)-float64(groups)/2)*width
		d.add(`<rect class="bar" x="%s" y="%s" width="%s" height="%s"><title>%s</title></rect>`,
			tenth(left), tenth(d.y(pt.Y)), tenth(width), tenth(d.bottom-d.y(pt.Y)), html.EscapeString(pt.Title))
	}
}

// Styles is how many series look different from each other.
const Styles = 8

// Mark is the path of a series' shape around a place.
func Mark(style int, x, y float64) string {
	place := tenth(x) + " " + tenth(y)
	switch style % 4 {
	case 1:
		return "M" + place + "m-4-4h8v8h-8z"
	case 2:
		return "M" + place + "m0-5.5l5 9.5h-10z"
	case 3:
		return "M" + place + "m0-5.5l5.5 5.5l-5.5 5.5l-5.5-5.5z"
	}
	return "M" + place + "m-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z"
}

// Legend is how a series of the kind looks in a legend: the path of its mark, in a box
// of 20 by 14, and whether a line runs through it.
func (k Kind) Legend(style int) (mark string, line bool) {
	switch k {
	case Line:
		return "", true
	case Dots:
		return "M10 7m-2.5 0a2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0-5 0z", false
	case Area, Bars:
		return "M3 2h14v10h-14z", false
	}
	return Mark(style, 10, 7), true
}
