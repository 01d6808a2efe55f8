package render

import (
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/jba/templatecheck"

	"paceline/loadgen/plausibility"
	"paceline/loadgen/report"
	"paceline/loadgen/report/figures"
)

// entries are the templates that Go code executes, with what it gives them.
var entries = map[string]any{
	"report.md": figures.Figures{}, "report.html": figures.Figures{}, "terminal": figures.Figures{},
	"sum": plausibility.Verdict{}, "comparison": comparison{}, "load": report.Config{}, "made": "", "contents": nil,
	"throughput": "", "throughput caption": nil, "throughput point": figures.Cell{},
	"batch size": nil, "requests/s": nil, "seconds": nil, "rate": nil,
	"curve": "", "curve caption": nil, "curve point": ratePoint{},
}

// TestNoTemplateNamesAFieldThatIsNotThere checks every branch by the types, also those
// that no fixture reaches.
func TestNoTemplateNamesAFieldThatIsNotThere(t *testing.T) {
	for _, l := range []*Language{English, Chinese} {
		for name, data := range entries {
			one := l.templates.Lookup(name)
			if one == nil {
				t.Errorf("%s has no %q", l.Code, name)
				continue
			}
			if err := templatecheck.CheckText(one, data); err != nil {
				t.Errorf("%s: %q: %v", l.Code, name, err)
			}
		}
	}
}

// TestBothLanguagesHaveTheSameTemplatesAndUseThemAll renders every report that the tests
// have, and notes which templates were executed.
func TestBothLanguagesHaveTheSameTemplatesAndUseThemAll(t *testing.T) {
	define := regexp.MustCompile(`{{define "([^"]+)"}}`)
	var names [2][]string
	for i, l := range []*Language{English, Chinese} {
		used := map[string]bool{}
		watched := *l
		use := template.FuncMap{"used": func(name string) string { used[name] = true; return "" }}
		watched.templates = template.New("").Funcs(watched.funcs()).Funcs(use)
		for _, file := range []string{"layout.tmpl", l.Code + ".tmpl"} {
			text, err := files.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range define.FindAllStringSubmatch(string(text), -1) {
				names[i] = append(names[i], m[1])
			}
			template.Must(watched.templates.Parse(define.ReplaceAllString(string(text), `$0{{used "$1"}}`)))
		}
		for _, f := range toldFigures(t) {
			for _, write := range []func(io.Writer, figures.Figures, *Language) error{WriteMarkdown, WriteTerminal, WriteHTML} {
				if err := write(io.Discard, f, &watched); err != nil {
					t.Error(err)
				}
			}
		}
		watched.line("made", "")
		watched.line("comparison", comparison{Comparison: figures.Compare(full(), full())})
		for _, name := range names[i] {
			if !used[name] {
				t.Errorf("%s: nothing renders %q", l.Code, name)
			}
		}
		slices.Sort(names[i])
	}
	if !slices.Equal(names[0], names[1]) {
		t.Errorf("English has %q, Chinese %q", names[0], names[1])
	}
}

// TestBothLanguagesFillEverySectionAlike compares the reports block by block: as many
// headings, items and cells, and none of them empty in one language only.
func TestBothLanguagesFillEverySectionAlike(t *testing.T) {
	for name, f := range toldFigures(t) {
		for _, form := range []string{"report.md", "report.html", "terminal"} {
			var all [2][]block
			for i, l := range []*Language{English, Chinese} {
				text, err := l.text(form, f)
				if err != nil {
					t.Fatal(err)
				}
				all[i] = parse(text, l.space)
			}
			if len(all[0]) != len(all[1]) {
				t.Fatalf("%s, %s: %d blocks in English, %d in Chinese", name, form, len(all[0]), len(all[1]))
			}
			for i, en := range all[0] {
				zh := all[1][i]
				if en.Level != zh.Level || (en.Text == "") != (zh.Text == "") || len(en.Items) != len(zh.Items) ||
					len(en.Rows) != len(zh.Rows) || en.Picture != zh.Picture {
					t.Errorf("%s, %s: %+v in English, %+v in Chinese", name, form, en, zh)
					continue
				}
				for j, row := range en.Rows {
					if len(row) != len(en.Rows[0]) || len(row) != len(zh.Rows[j]) {
						t.Errorf("%s, %s: row %q in English, %q in Chinese, under %q", name, form, row, zh.Rows[j], en.Rows[0])
					}
				}
				for j, item := range en.Items {
					if strings.TrimSpace(item) == "" || strings.TrimSpace(zh.Items[j]) == "" {
						t.Errorf("%s, %s: an item is empty: %q, %q", name, form, item, zh.Items[j])
					}
				}
			}
		}
	}
}
