package report

import (
	"bytes"
	"strings"

	"golang.org/x/text/width"
)

// writeColumns writes rows to a terminal, each column as wide as its widest cell
// and flush to the right.
func writeColumns(b *bytes.Buffer, rows [][]string) {
	var widest []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widest) {
				widest = append(widest, 0)
			}
			widest[i] = max(widest[i], displayWidth(cell))
		}
	}
	for _, row := range rows {
		for i, cell := range row {
			b.WriteString(strings.Repeat(" ", 2+widest[i]-displayWidth(cell)))
			b.WriteString(cell)
		}
		b.WriteByte('\n')
	}
}

// displayWidth is how many columns of a terminal a text takes: Chinese characters
// take two.
func displayWidth(s string) int {
	n := 0
	for _, r := range s {
		switch width.LookupRune(r).Kind() {
		case width.EastAsianWide, width.EastAsianFullwidth:
			n += 2
		default:
			n++
		}
	}
	return n
}
