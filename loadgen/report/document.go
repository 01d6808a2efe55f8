package report

import (
	"fmt"
	"strings"
)

// document is Markdown in the making.
type document struct{ b strings.Builder }

func (d *document) line(format string, args ...any) { fmt.Fprintf(&d.b, format+"\n", args...) }

func (d *document) heading(level int, text string) {
	d.line("%s %s\n", strings.Repeat("#", level), oneLine(text))
}

// table writes rows under a head, or under an empty one: Markdown has no table
// without.
func (d *document) table(head []string, rows [][]string) {
	d.row(head)
	d.line("|%s", strings.Repeat("---|", len(head)))
	for _, row := range rows {
		d.row(row)
	}
	d.line("")
}

func (d *document) row(cells []string) {
	d.b.WriteByte('|')
	for _, c := range cells {
		d.b.WriteString(" " + strings.ReplaceAll(oneLine(c), "|", `\|`) + " |")
	}
	d.b.WriteByte('\n')
}

func (d *document) bullets(items []string) {
	for _, item := range items {
		d.line("- %s", oneLine(item))
	}
	d.line("")
}

// oneLine keeps a name that somebody else chose from breaking the layout.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
