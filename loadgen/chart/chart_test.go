package chart

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// wellFormed says how many elements a picture has.
func wellFormed(svg string) (n int, err error) {
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		token, err := d.Token()
		switch {
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil:
			return n, err
		}
		if _, ok := token.(xml.StartElement); ok {
			n++
		}
	}
}

func TestNamesFromOutsideAreEscaped(t *testing.T) {
	evil := `<script>alert("1")</script>&`
	svg := Plot{
		Title: evil, XLabel: evil, YLabel: evil, Names: []string{evil}, YFormat: func(float64) string { return evil },
		Series: []Series{
			{Name: evil, Points: []Point{{X: 0.5, Y: 1, Title: evil}}},
		},
	}.SVG("a")
	if strings.Contains(svg, "<script") {
		t.Error(svg)
	}
	if _, err := wellFormed(svg); err != nil {
		t.Error(err)
	}
}

func TestAPictureIsToldToThoseWhoDoNotSeeIt(t *testing.T) {
	svg := Plot{Title: "Throughput", Series: []Series{{Points: []Point{{Title: "1: 30 requests/s"}}}}}.SVG("f1")
	for _, want := range []string{
		`role="img"`, `aria-labelledby="f1-t f1-d"`, `<title id="f1-t">Throughput</title>`, `<desc id="f1-d">1: 30 requests/s</desc>`,
	} {
		if !strings.Contains(svg, want) {
			t.Errorf("no %s in %s", want, svg)
		}
	}
}

func TestWhateverTheValuesThePictureIsWellFormedAndFinite(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.SampledFrom([]float64{0, -1, 1e-300, 0.3, 1, 12345, 1e30, math.MaxFloat64, math.NaN(), math.Inf(1)})
		p := Plot{}
		for i := range rapid.IntRange(0, 9).Draw(t, "series") {
			s := Series{}
			for j := range rapid.IntRange(0, 5).Draw(t, "points") {
				s.Points = append(s.Points,
					Point{X: float64(j), Y: value.Draw(t, "y"), Low: value.Draw(t, "low"), High: value.Draw(t, "high"), Joined: j > 0})
			}
			p.Series = append(p.Series, s)
			p.Names = append(p.Names, fmt.Sprint("name ", i))
		}
		svg := p.SVG("a")
		if n, err := wellFormed(svg); err != nil || n < 3 {
			t.Fatalf("%d elements, %v", n, err)
		}
		for _, word := range []string{"NaN", "Inf"} {
			if strings.Contains(svg, word) {
				t.Fatalf("holds %s: %s", word, svg)
			}
		}
	})
}

func TestTheAxisReachesTheHighestValueAndItsInterval(t *testing.T) {
	for _, c := range []struct {
		high, top, step float64
	}{{34.3, 40, 10}, {100, 100, 20}, {101, 125, 25}, {0, 1, 1}} {
		p := Plot{Series: []Series{{Points: []Point{{Y: c.high / 2, Low: c.high / 3, High: c.high}}}}}
		if top, step := p.reach(5); top != c.top || step != c.step {
			t.Errorf("%v: to %v by %v, want %v by %v", c.high, top, step, c.top, c.step)
		}
	}
}

func TestManyLongNamesAreTurned(t *testing.T) {
	names := slices.Repeat([]string{"16, 4 in flight"}, 12)
	if got := strings.Count(Plot{Names: names}.SVG("a"), "rotate(-42)"); got != 12 {
		t.Errorf("%d names are turned", got)
	}
	if strings.Contains(Plot{Names: names[:2]}.SVG("a"), "rotate") {
		t.Error("two names are turned")
	}
}
