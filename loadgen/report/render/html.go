package render

import (
	"html"
	"html/template"
	"regexp"
	"strconv"
	"strings"

	"paceline/loadgen/chart"
	"paceline/loadgen/report/figures"
)

var pageTemplate = template.Must(template.New("report.html.tmpl").
	Funcs(template.FuncMap{"inline": inline, "table": tableOf}).ParseFS(files, "report.html.tmpl"))

// pageView is what report.html.tmpl lays out.
type pageView struct {
	Lang, Title, Made string
	Contents          string // title of the list of sections
	Style             template.CSS
	Intro             []block
	Sections          []section
}

type section struct {
	ID, Title string
	Folded    bool // it opens when it is wanted
	Blocks    []block
}

// page arranges the blocks under their headings. Blocks before the first heading introduce the page.
func page(blocks []block, f figures.Figures, l *Language) (string, error) {
	style, err := files.ReadFile("report.css")
	if err != nil {
		return "", err
	}
	v := pageView{
		Lang: l.tag, Made: f.CreatedAt.UTC().Format("2006-01-02 15:04 UTC"), Contents: l.line("contents", nil),
		Style: template.CSS(style), //nolint:gosec // our own file
	}
	plots, folded := plotter{f, l}, false
	for _, b := range blocks {
		into := &v.Intro
		if n := len(v.Sections); n > 0 {
			into = &v.Sections[n-1].Blocks
		}
		switch last := len(*into) - 1; {
		case b.Level == 1:
			v.Title = b.Text
		case b.Level == 2:
			v.Sections = append(v.Sections, section{ID: "s" + strconv.Itoa(len(v.Sections)+1), Title: b.Text, Folded: folded})
		case b.Picture == "fold": // everything after this
			folded = true
		case b.Picture != "" && last >= 0 && (*into)[last].Pictures != nil: // side by side
			(*into)[last].Pictures = append((*into)[last].Pictures, plots.picture(b.Picture))
		case b.Picture != "":
			*into = append(*into, block{Pictures: []picture{plots.picture(b.Picture)}})
		default:
			*into = append(*into, b)
		}
	}
	var b strings.Builder
	err = pageTemplate.Execute(&b, v)
	return b.String(), err
}

var (
	strong = regexp.MustCompile(`\*\*(.+?)\*\*`)
	code   = regexp.MustCompile("`([^`]+)`")
	link   = regexp.MustCompile(`^\[([^\]]*)\]\((\S+)\)$`)
)

// medals draws medals, because not every machine has a font with them.
var medals = strings.NewReplacer("🥇 1", `<span class="medal m1">1</span>`, "🥈 2", `<span class="medal m2">2</span>`,
	"🥉 3", `<span class="medal m3">3</span>`)

// inline marks up strong words and code, and escapes everything else.
func inline(text string) template.HTML {
	text = html.EscapeString(text)
	text = strong.ReplaceAllString(text, "<strong>$1</strong>")
	text = code.ReplaceAllString(text, "<code>$1</code>")
	text = medals.Replace(text)
	return template.HTML(strings.ReplaceAll(text, `\*`, "*")) //nolint:gosec // escaped above
}

type tableView struct {
	Facts bool // names and values, without a table head
	Head  []cellView
	Rows  [][]cellView
}

type cellView struct {
	Text, URL string
	Class     string // n for numbers, long for text that is wrapped
}

// longCell is the number of characters above which a cell is wrapped.
const longCell = 36

// numeric matches the cells of a column that is aligned right.
var numeric = regexp.MustCompile(`^[+-]?[0-9][0-9.,/×% –-]*\*?$|^–$`)

func tableOf(rows [][]string) tableView {
	v := tableView{Facts: strings.Join(rows[0], "") == ""}
	numbers := map[int]string{} // columns that hold only numbers, with their class
	for i, text := range rows[0] {
		if !v.Facts {
			v.Head, numbers[i] = append(v.Head, cellView{Text: text}), "n"
		}
	}
	for _, texts := range rows[1:] {
		row := make([]cellView, len(texts))
		for i, text := range texts {
			row[i].Text = text
			if m := link.FindStringSubmatch(text); m != nil {
				row[i].Text, row[i].URL = m[1], m[2]
			}
			if len([]rune(row[i].Text)) > longCell {
				row[i].Class = "long"
			}
			if !numeric.MatchString(row[i].Text) {
				delete(numbers, i)
			}
		}
		v.Rows = append(v.Rows, row)
	}
	for i, class := range numbers {
		v.Head[i].Class = class
		for _, row := range v.Rows {
			row[i].Class = class
		}
	}
	return v
}

// picture is one plot.
type picture struct {
	Title, Caption string
	SVG            template.HTML
	Legend         []legend
}

// legend is a series that has a name.
type legend struct {
	Name  string
	Style int
	Mark  string // SVG path of its points, in a box of 20 by 14
}

// newPicture draws a plot. id must be unique in the page.
func newPicture(id, title, caption string, plot chart.Plot) picture {
	plot.Title = title
	p := picture{Title: title, Caption: caption, SVG: template.HTML(plot.SVG(id))} //nolint:gosec // package chart escapes
	for i, s := range plot.Series {
		if s.Name == "" {
			continue
		}
		p.Legend = append(p.Legend, legend{s.Name, i % chart.Styles, chart.Mark(i, 10, 7)})
	}
	return p
}
