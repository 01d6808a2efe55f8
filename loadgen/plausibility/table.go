package plausibility

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// Row is a line of a table.
type Row struct {
	Name    string  // the first column, usually the batch size
	Seconds float64 // for all prompts
}

// maxRows bounds a table; real ones have a handful of batch sizes.
const maxRows = 1000

// ReadTable reads a table with two columns: batch size and time in seconds. Columns are separated by
// commas, tabs, blanks or Markdown's bars. Lines before the first number are a heading. Its error names
// the line.
func ReadTable(r io.Reader) ([]Row, error) {
	var rows []Row
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		cells := strings.FieldsFunc(lines.Text(), func(c rune) bool { return c == '|' || c == ',' || c == ';' || c == '\t' })
		if len(cells) < 2 {
			cells = strings.Fields(lines.Text())
		}
		if len(cells) == 0 {
			continue
		}
		if len(cells) < 2 {
			return nil, fmt.Errorf("line %d: must have a batch size and a time in seconds, got one column", n)
		}
		name, text := strings.TrimSpace(cells[0]), strings.TrimSpace(cells[1])
		seconds, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(text, "s")), 64)
		switch {
		case err != nil && len(rows) == 0:
			continue // a heading, or the line below it
		case err != nil:
			return nil, fmt.Errorf("line %d: the time must be a number of seconds, got %q", n, text)
		case !(seconds > 0) || math.IsInf(seconds, 0):
			return nil, fmt.Errorf("line %d: the time must be above 0 s, got %q", n, text)
		case len(rows) == maxRows:
			return nil, fmt.Errorf("line %d: more than %d rows", n, maxRows)
		}
		rows = append(rows, Row{name, seconds})
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("the table has no row with a batch size and a time in seconds")
	}
	return rows, nil
}
