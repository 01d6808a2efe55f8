// Package render writes figures for readers: on the terminal, as Markdown and as one offline HTML page,
// in English and Chinese.
//
// The words are in en.tmpl and zh.tmpl, which have sections of the same names. layout.tmpl has the
// order of the sections and the terminal's rows. To add a column to the main table, add its heads
// and its cells in en.tmpl and zh.tmpl ("ranking", "terminal ranking") and in layout.tmpl
// ("terminal row"), for rows with runs and without; a new figure is a field of figures.Cell. The tests check that both
// languages fill every section alike.
//
// Read render.go (what is written) first, then words.go (what templates call), blocks.go (text to
// blocks), html.go and plots.go (the page).
package render

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/template"

	"paceline/loadgen/plausibility"
	"paceline/loadgen/report"
	"paceline/loadgen/report/figures"
)

//go:embed *.tmpl report.css zh.stored.txt
var files embed.FS

// Language is a language of reports. The zero value is not usable.
type Language struct {
	Code, tag                             string // en; its name in HTML
	comma, and, semicolon, space, unknown string
	part                                  string // between the parts of a setting's name
	inFlight, batchSize, noFigure         string // formats
	perRequest, perQuestion               string // units of throughput
	phases                                map[string]string
	templates                             *template.Template
}

// The languages.
var (
	English = load(Language{
		Code: "en", tag: "en", comma: ", ", and: " and ", semicolon: "; ", space: " ", unknown: "unknown",
		part: ", ", inFlight: "%s in flight", batchSize: "batch size %s", noFigure: "no figure",
		perRequest: "requests/s", perQuestion: "questions/s",
	})
	Chinese = load(Language{
		Code: "zh", tag: "zh-Hans", comma: "、", and: " 和 ", semicolon: "；", unknown: "未提供",
		part: "，", inFlight: "在途 %s 批", batchSize: "批大小 %s", noFigure: "无数据", perRequest: "请求/s", perQuestion: "问题/s",
		phases: map[string]string{"cold": "冷缓存", "warm": "热缓存"},
	})
)

func load(l Language) *Language {
	l.templates = template.Must(template.New("").Funcs(l.funcs()).ParseFS(files, "layout.tmpl", l.Code+".tmpl"))
	return &l
}

// Named returns the language with a code. Its error says what was expected.
func Named(code string) (*Language, error) {
	for _, l := range []*Language{English, Chinese} {
		if strings.EqualFold(code, l.Code) {
			return l, nil
		}
	}
	return nil, fmt.Errorf("must be en or zh, got %q", code)
}

// text executes a template.
func (l *Language) text(name string, data any) (string, error) {
	var b strings.Builder
	err := l.templates.ExecuteTemplate(&b, name, data)
	return b.String(), err
}

// line is text on one line. After an error it returns the error's text: tests execute all templates that
// it is used with.
func (l *Language) line(name string, data any) string {
	text, err := l.text(name, data)
	if err != nil {
		return err.Error()
	}
	return oneLine(text)
}

// WriteMarkdown writes the report as report.md.
func WriteMarkdown(w io.Writer, f figures.Figures, l *Language) error {
	return write(w, "report.md", f, l, func(blocks []block) (string, error) { return markdown(blocks), nil })
}

// WriteTerminal writes the summary at the end of a sweep: a table for each phase and the conclusion.
func WriteTerminal(w io.Writer, f figures.Figures, l *Language) error {
	return write(w, "terminal", f, l, func(blocks []block) (string, error) { return terminal(blocks), nil })
}

// WriteHTML writes the report as one self-contained page, without scripts, fonts or image files.
func WriteHTML(w io.Writer, f figures.Figures, l *Language) error {
	return write(w, "report.html", f, l, func(blocks []block) (string, error) { return page(blocks, f, l) })
}

func write(w io.Writer, name string, f figures.Figures, l *Language, form func([]block) (string, error)) error {
	text, err := l.text(name, f)
	if err == nil {
		text, err = form(parse(text, l.space))
	}
	if f.Source.Questions > 0 { // each is an answer
		text = strings.ReplaceAll(text, l.perRequest, l.perQuestion)
	}
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// Sum puts the arithmetic of a verdict into words.
func Sum(v plausibility.Verdict, l *Language) string { return unescape(l.line("sum", v)) }

// Load describes the load: when requests are sent.
func Load(c report.Config, l *Language) string { return l.line("load", c) }

// Made says where the report is.
func Made(path string, l *Language) string { return l.line("made", path) }

type comparison struct {
	figures.Comparison
	LoadBefore, LoadAfter string
}

// WriteComparison writes a comparison in English. Its error is one of w, or says that no setting is in
// both reports.
func WriteComparison(w io.Writer, c figures.Comparison) error {
	if len(c.Pairs) == 0 {
		return errors.New("no setting was measured in both reports")
	}
	text, err := English.text("comparison", comparison{c, Load(c.Before.Config, English), Load(c.After.Config, English)})
	if err == nil {
		_, err = io.WriteString(w, terminal(parse(text, " ")))
	}
	return err
}
