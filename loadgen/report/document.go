package report

import (
	"fmt"
	"strings"

	"paceline/loadgen/phrase"
)

// document is a report as a sequence of blocks, before it has a language and a
// form: report.md and report.html are the same document. Text within a block may
// hold **strong** words and `code`.
type document struct{ blocks []block }

// block is one of heading, paragraph, bullets, table and figure.
type block any

type (
	heading struct {
		level int // 1 for the title
		text  phrase.Phrase
	}
	paragraph struct{ text phrase.Phrase }
	bullets   struct{ items []phrase.Phrase }
	table     struct {
		head []string // English formats; all empty for a table of names and values
		rows [][]any  // a cell is a phrase, a link, or what fmt prints
	}
)

// link is a table's cell that leads elsewhere.
type link struct{ text, url string }

// line adds a paragraph: an English format that has a translation.
func (d *document) line(format string, args ...any) {
	if false {
		_ = fmt.Sprintf(format, args...) // has go vet check the verbs
	}
	d.say(phrase.Say(format, args...))
}

func (d *document) say(text phrase.Phrase) { d.add(paragraph{text}) }

func (d *document) heading(level int, text phrase.Phrase) { d.add(heading{level, text}) }

// table adds rows under a head, which is English formats that have translations.
func (d *document) table(head []string, rows [][]any) { d.add(table{head, rows}) }

func (d *document) bullets(items []phrase.Phrase) { d.add(bullets{items}) }

func (d *document) add(b block) { d.blocks = append(d.blocks, b) }

// section is a heading with a list under it.
func (d *document) section(title phrase.Phrase, items []phrase.Phrase) {
	d.heading(2, title)
	d.bullets(items)
}

// headed says whether the table has a head at all.
func (t table) headed() bool { return strings.Join(t.head, "") != "" }

// cellText is a table's cell in a language, without markup of its own.
func cellText(l phrase.Language, cell any) string {
	switch c := cell.(type) {
	case phrase.Phrase:
		return oneLine(c.In(l))
	case link:
		return oneLine(c.text)
	}
	return oneLine(fmt.Sprint(cell))
}

// oneLine keeps a name that somebody else chose from breaking the layout.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// markdown is the document as Markdown. Figures are left out: it has none.
func (d *document) markdown(l phrase.Language) string {
	var b strings.Builder
	for _, one := range d.blocks {
		switch k := one.(type) {
		case heading:
			fmt.Fprintf(&b, "%s %s\n\n", strings.Repeat("#", k.level), oneLine(k.text.In(l)))
		case paragraph:
			fmt.Fprintf(&b, "%s\n\n", oneLine(k.text.In(l)))
		case bullets:
			for _, item := range k.items {
				fmt.Fprintf(&b, "- %s\n", oneLine(item.In(l)))
			}
			b.WriteByte('\n')
		case table:
			k.markdown(&b, l)
		}
	}
	return b.String()
}

// markdown writes the table under its head, or under an empty one: Markdown has no
// table without.
func (t table) markdown(b *strings.Builder, l phrase.Language) {
	row := func(cells []string) {
		b.WriteByte('|')
		for _, c := range cells {
			b.WriteString(" " + strings.ReplaceAll(c, "|", `\|`) + " |")
		}
		b.WriteByte('\n')
	}
	head := make([]string, len(t.head))
	for i, format := range t.head {
		head[i] = phrase.Term(format).In(l)
	}
	row(head)
	fmt.Fprintf(b, "|%s\n", strings.Repeat("---|", len(head)))
	for _, cells := range t.rows {
		texts := make([]string, len(cells))
		for i, c := range cells {
			texts[i] = cellText(l, c)
			if to, ok := c.(link); ok {
				texts[i] = fmt.Sprintf("[%s](%s)", texts[i], oneLine(to.url))
			}
		}
		row(texts)
	}
	b.WriteByte('\n')
}
