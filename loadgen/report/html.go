package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html"
	"html/template"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"paceline/loadgen/chart"
	"paceline/loadgen/phrase"
)

//go:embed report.html.tmpl
var pageSource string

//go:embed report.css
var pageStyle string

var page = template.Must(template.New("report.html").Parse(pageSource))

// WriteHTML writes the report as one page that needs nothing from elsewhere: no
// script, no font, no picture. What it shows of single requests is from the digest,
// which may be empty.
func WriteHTML(w io.Writer, r Report, digest Digest, l phrase.Language) error {
	r = r.settled()
	phases := r.phases()
	d := &document{}
	d.title(r)
	d.section(phrase.Say("Conclusion"), r.conclusion(phases))
	d.figures(r, phases, digest)
	d.body(r, phases)
	d.end(r, phases)
	var b bytes.Buffer
	if err := page.Execute(&b, d.page(l, r.CreatedAt)); err != nil {
		return fmt.Errorf("report.html: %w", err)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("report.html: %w", err)
	}
	return nil
}

// pageView is what the template lays out.
type pageView struct {
	Lang, Title, Made string
	Contents          string // what the list of sections is called
	Style             template.CSS
	Intro             []template.HTML
	Sections          []sectionView
}

type sectionView struct {
	ID, Title string
	Blocks    []blockView
}

// blockView is a block; one field is set.
type blockView struct {
	Heading string
	Text    template.HTML
	Items   []template.HTML
	Table   *tableView
	Figures []figureView
}

type tableView struct {
	Name  string // of the section, for those who don't see where it stands
	Facts bool   // names and values, without a head
	Head  []cellView
	Rows  [][]cellView
}

type cellView struct {
	Text  template.HTML
	URL   string
	Class string // n for numbers, long for what is wrapped
}

type figureView struct {
	Title   string
	Caption string
	SVG     []template.HTML
	Legend  []legendView
}

type legendView struct {
	Name  string
	Style int
	Mark  string // SVG path, in a box of 20 by 14
	Line  bool
}

// page arranges the blocks under their headings. What comes before the first of
// these introduces the page.
func (d *document) page(l phrase.Language, made time.Time) pageView {
	v := pageView{Lang: l.Tag(), Made: made.UTC().Format("2006-01-02 15:04 UTC"), Contents: phrase.Term("Contents").In(l), Style: template.CSS(pageStyle)} //nolint:gosec // our own file
	figures := 0
	add := func(b blockView) {
		if n := len(v.Sections); n > 0 {
			v.Sections[n-1].Blocks = append(v.Sections[n-1].Blocks, b)
		} else if b.Text != "" {
			v.Intro = append(v.Intro, b.Text)
		}
	}
	for _, one := range d.blocks {
		switch k := one.(type) {
		case heading:
			text := oneLine(k.text.In(l))
			switch k.level {
			case 1:
				v.Title = text
			case 2:
				v.Sections = append(v.Sections, sectionView{ID: "s" + strconv.Itoa(len(v.Sections)+1), Title: text})
			default:
				add(blockView{Heading: text})
			}
		case paragraph:
			add(blockView{Text: inline(k.text.In(l))})
		case bullets:
			var items []template.HTML
			for _, item := range k.items {
				items = append(items, inline(item.In(l)))
			}
			if len(items) > 0 {
				add(blockView{Items: items})
			}
		case table:
			add(blockView{Table: k.view(l, lastTitle(v.Sections))})
		case figure:
			figures++
			f := k.view(l, "f"+strconv.Itoa(figures))
			if beside := lastFigures(v.Sections); beside != nil {
				beside.Figures = append(beside.Figures, f)
				continue
			}
			add(blockView{Figures: []figureView{f}})
		}
	}
	return v
}

func lastTitle(all []sectionView) string {
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1].Title
}

// lastFigures is the block that a further figure stands beside the figures of.
func lastFigures(all []sectionView) *blockView {
	if len(all) == 0 || len(all[len(all)-1].Blocks) == 0 {
		return nil
	}
	blocks := all[len(all)-1].Blocks
	if last := &blocks[len(blocks)-1]; last.Figures != nil {
		return last
	}
	return nil
}

var (
	strong = regexp.MustCompile(`\*\*(.+?)\*\*`)
	code   = regexp.MustCompile("`([^`]+)`")
)

// inline is text with its strong words and code, and everything else escaped.
func inline(text string) template.HTML {
	text = html.EscapeString(oneLine(text))
	text = strong.ReplaceAllString(text, "<strong>$1</strong>")
	text = code.ReplaceAllString(text, "<code>$1</code>")
	return template.HTML(strings.ReplaceAll(text, `\*`, "*")) //nolint:gosec // escaped above
}

func (t table) view(l phrase.Language, name string) *tableView {
	v := &tableView{Name: name, Facts: !t.headed()}
	numbers := make([]bool, len(t.head)) // columns of nothing else
	for i := range numbers {
		numbers[i] = !v.Facts
	}
	for _, cells := range t.rows {
		row := make([]cellView, len(cells))
		for i, c := range cells {
			text := cellText(l, c)
			row[i].Text = inline(text)
			if to, ok := c.(link); ok {
				row[i].URL = to.url
			}
			if len([]rune(text)) > longCell {
				row[i].Class = "long"
			}
			numbers[i] = numbers[i] && numeric.MatchString(text)
		}
		v.Rows = append(v.Rows, row)
	}
	if !v.Facts {
		for _, format := range t.head {
			v.Head = append(v.Head, cellView{Text: inline(phrase.Term(format).In(l))})
		}
	}
	for i, n := range numbers {
		if !n {
			continue
		}
		v.Head[i].Class = "n"
		for _, row := range v.Rows {
			row[i].Class = "n"
		}
	}
	return v
}

// longCell is how many characters a cell may have on one line.
const longCell = 36

// numeric is what is set flush to the right, if a whole column is such.
var numeric = regexp.MustCompile(`^[+-]?[0-9][0-9.,/×% –-]*\*?$|^–$`)

func (f figure) view(l phrase.Language, id string) figureView {
	v := figureView{Title: f.title.In(l), Caption: f.caption.In(l)}
	for i, plot := range f.plots(l) {
		v.SVG = append(v.SVG, template.HTML(plot.SVG(fmt.Sprintf("%s-%d", id, i+1)))) //nolint:gosec // package chart escapes
		v.Legend = append(v.Legend, legend(plot)...)
	}
	return v
}

// legend names the series that have names.
func legend(plot chart.Plot) (all []legendView) {
	for i, s := range plot.Series {
		if s.Name == "" {
			continue
		}
		style := plot.Style(i)
		one := legendView{Name: s.Name, Style: style % chart.Styles}
		switch s.Kind {
		case chart.Marked:
			one.Mark, one.Line = chart.Mark(style, 10, 7), true
		case chart.Line:
			one.Line = true
		case chart.Dots:
			one.Mark = "M10 7m-2.5 0a2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0-5 0z"
		case chart.Area, chart.Bars:
			one.Mark = "M3 2h14v10h-14z"
		}
		all = append(all, one)
	}
	return all
}
