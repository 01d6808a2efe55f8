package render

import (
	"strings"

	"golang.org/x/text/width"
)

// block is a heading, a paragraph, a list, a table or a placeholder for pictures.
type block struct {
	Level    int // of a heading; 1 for the title
	Text     string
	Items    []string
	Rows     [][]string // of a table; the first is its head
	Picture  string     // name of a plot
	Pictures []picture  // the plots of a page
}

// parse parses the Markdown that templates write. Consecutive lines belong to one paragraph or item and
// are joined by space.
func parse(text, space string) (blocks []block) {
	open := false // the previous line belongs to the last block
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		last := &block{}
		if n := len(blocks); n > 0 {
			last = &blocks[n-1]
		}
		rest, isItem := strings.CutPrefix(line, "- ")
		name, isPicture := strings.CutPrefix(line, "![](")
		hashes := len(line) - len(strings.TrimLeft(line, "#"))
		switch {
		case line == "":
		case strings.HasPrefix(line, "|"):
			if row := cells(line); open && last.Rows != nil {
				last.Rows = append(last.Rows, row)
			} else {
				blocks = append(blocks, block{Rows: [][]string{row}})
			}
		case isItem && last.Items != nil:
			last.Items = append(last.Items, unescape(rest))
		case isItem:
			blocks = append(blocks, block{Items: []string{unescape(rest)}})
		case isPicture:
			blocks = append(blocks, block{Picture: strings.TrimSuffix(name, ")")})
		case hashes > 0 && strings.HasPrefix(line[hashes:], " "):
			blocks = append(blocks, block{Level: hashes, Text: unescape(line[hashes+1:])})
		case open && last.Items != nil:
			last.Items[len(last.Items)-1] += space + unescape(line)
		case open && last.Text != "" && last.Level == 0:
			last.Text += space + unescape(line)
		default:
			blocks = append(blocks, block{Text: unescape(line)})
		}
		open = line != ""
	}
	return blocks
}

// cells splits a row of a table.
func cells(line string) (row []string) {
	line = strings.ReplaceAll(line, `\|`, "\x00")
	for _, c := range strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|"), "|") {
		row = append(row, strings.ReplaceAll(strings.TrimSpace(c), "\x00", "|"))
	}
	return row
}

// markdown writes blocks as report.md.
func markdown(blocks []block) string {
	var b strings.Builder
	for _, k := range blocks {
		switch {
		case k.Picture != "": // of the page only
			continue
		case k.Level > 0:
			b.WriteString(strings.Repeat("#", k.Level) + " " + k.Text + "\n")
		case k.Items != nil:
			for _, item := range k.Items {
				b.WriteString("- " + item + "\n")
			}
		case k.Rows != nil:
			for i, row := range k.Rows {
				b.WriteString("|")
				for _, c := range row {
					b.WriteString(" " + strings.ReplaceAll(c, "|", `\|`) + " |")
				}
				b.WriteString("\n")
				if i == 0 {
					b.WriteString("|" + strings.Repeat("---|", len(row)) + "\n")
				}
			}
		default:
			b.WriteString(k.Text + "\n")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// marks are those of strong words and code, which a terminal does not show.
var marks = strings.NewReplacer("**", "", "`", "", `\*`, "*")

// terminal writes blocks for a terminal: tables in columns, lists under a heading indented.
func terminal(blocks []block) string {
	var b strings.Builder
	heading := false
	for _, k := range blocks {
		switch {
		case k.Level > 0:
			b.WriteString("\n" + k.Text + "\n")
		case k.Rows != nil:
			columns(&b, k.Rows)
		case k.Items != nil:
			before := "\n"
			for _, item := range k.Items {
				if heading {
					before = "  "
				}
				b.WriteString(before + marks.Replace(item) + "\n")
				before = ""
			}
		default:
			b.WriteString(marks.Replace(k.Text) + "\n")
		}
		heading = k.Level > 2
	}
	return b.String()
}

// columns writes rows in right-aligned columns, each as wide as its widest cell.
func columns(b *strings.Builder, rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], displayWidth(cell))
		}
	}
	for _, row := range rows {
		for i, cell := range row {
			if strings.HasPrefix(cell, "█") { // a bar begins at the left
				b.WriteString("  " + cell)
				continue
			}
			b.WriteString(strings.Repeat(" ", 2+widths[i]-displayWidth(cell)) + cell)
		}
		b.WriteByte('\n')
	}
}

// displayWidth returns how many columns of a terminal a text takes. Chinese characters take two.
func displayWidth(s string) (n int) {
	for _, r := range s {
		n++
		if k := width.LookupRune(r).Kind(); k == width.EastAsianWide || k == width.EastAsianFullwidth {
			n++
		}
	}
	return n
}
