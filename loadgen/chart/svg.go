package chart

import (
	_ "embed"
	"html/template"
	"math"
	"strconv"
	"strings"
)

//go:embed svg.tmpl
var source string

var svg = template.Must(template.New("svg").Parse(source))

// drawing is a plot with its place in the picture. Its methods are what svg.tmpl calls.
type drawing struct {
	Plot
	ID                       string
	Width                    int
	left, right, top, bottom float64 // edges
	yMax, step               float64 // end of the vertical axis, and the distance of its ticks
	xMax, xStep              float64 // of the horizontal one
}

// charWidth is the maximum width of a character of a tick's label.
const charWidth = 6.5

// SVG draws the plot. id must be unique in the page. All text is escaped.
func (p Plot) SVG(id string) string {
	d := drawing{Plot: p, ID: id, Width: Width, left: 54, right: Width - 14, top: 26}
	foot := 40.0
	if p.Turned() {
		foot = 34 + 0.72*charWidth*float64(p.longest())
	}
	d.bottom = height - foot
	d.yMax, d.step = p.reach(max(1, min(5, math.Floor((d.bottom-d.top)/28))))
	d.xMax, d.xStep = p.width(5)
	var b strings.Builder
	if err := svg.Execute(&b, d); err != nil {
		return template.HTMLEscapeString(err.Error()) // tests draw every kind of plot
	}
	return strings.TrimSpace(b.String())
}

// tenth formats a coordinate plus an offset, to a tenth of a unit: more is not visible.
func tenth(v float64, plus ...float64) string {
	for _, p := range plus {
		v += p
	}
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
}

func (d drawing) x(v float64) float64 {
	return d.left + drawable(v)/d.xMax*(d.right-d.left)
}

func (d drawing) y(v float64) float64 {
	return d.bottom - min(1, max(0, drawable(v)/d.yMax))*(d.bottom-d.top)
}

// X returns the coordinate of a value on the horizontal axis, plus an offset. Y does so on the vertical
// axis.
func (d drawing) X(v float64, plus ...float64) string { return tenth(d.x(v), plus...) }
func (d drawing) Y(v float64, plus ...float64) string { return tenth(d.y(v), plus...) }

// Centre and Foot are the coordinates of the horizontal axis's label.
func (d drawing) Centre() string { return tenth((d.left + d.right) / 2) }
func (d drawing) Foot() int      { return height - 4 }
func (d drawing) Height() int    { return height }

// Between returns the vertical distance of two values.
func (d drawing) Between(high, low float64) string { return tenth(d.y(low) - d.y(high)) }

// Mark and Colour return the look of series i.
func (d drawing) Mark(i int, p Point) string { return Mark(i, d.x(p.X), d.y(p.Y)) }
func (d drawing) Colour(i int) int           { return i % Styles }

// YTicks returns the ticks of the vertical axis, from 0.
func (d drawing) YTicks() (ticks []Tick) {
	const maxTicks = 12
	for i := 0; i <= maxTicks && float64(i)*d.step <= d.yMax*(1+1e-9); i++ {
		t := Tick{At: float64(i) * d.step}
		if t.Text = strconv.FormatFloat(t.At, 'g', 4, 64); d.YFormat != nil {
			t.Text = d.YFormat(t.At)
		}
		ticks = append(ticks, t)
	}
	return ticks
}

// Ticks returns the names, or numbers, with their places.
func (d drawing) Ticks() (all []Tick) {
	for v := 0.0; len(d.Names) == 0 && v <= d.xMax*(1+1e-9); v += d.xStep {
		all = append(all, Tick{v, strconv.FormatFloat(v, 'g', 4, 64)})
	}
	for i, name := range d.Names {
		all = append(all, Tick{float64(i) + 0.5, name})
	}
	return all
}

// Edge is the right end of the horizontal axis.
func (d drawing) Edge() string { return tenth(d.right) }

// Path draws the lines between points that are joined.
func (d drawing) Path(s Series) string {
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
		line.WriteString(d.X(pt.X) + " " + d.Y(pt.Y))
	}
	return line.String()
}

// Styles is the number of different looks of series.
const Styles = 8

// Mark returns the path of a style's shape around a point.
func Mark(style int, x, y float64) string {
	return "M" + tenth(x) + " " + tenth(y) + []string{
		"m-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z", "m-4-4h8v8h-8z", "m0-5.5l5 9.5h-10z", "m0-5.5l5.5 5.5l-5.5 5.5l-5.5-5.5z",
	}[style%4]
}
