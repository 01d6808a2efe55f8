package plausibility

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Row is a line of a table.
type Row struct {
	Name    string  // usually the batch size
	Seconds float64 // for all prompts; 0 if the table has only a rate
	Rate    float64 // prompts per second; 0 if the table has times
	Prompts int     // as the heading of the times says; 0: unknown
}

// maxRows bounds a table; real ones have a handful of batch sizes.
const maxRows = 1000

// ReadTable reads a table with a heading, in English or Chinese: batch sizes, and times for all prompts or
// prompts per second. Other columns must be of a kind that it knows, such as ranks. Units are in the
// heading or in the cells. Without a heading there are two columns, batch size and time, in seconds unless
// the cells say otherwise. Columns are separated by Markdown's bars, commas, semicolons, tabs or blanks.
// Its error names the line and the column, and says what was expected.
func ReadTable(r io.Reader) ([]Row, error) {
	var rows []Row
	var columns []column
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		cells := cellsOf(strings.TrimPrefix(lines.Text(), "\ufeff"))
		if strings.Trim(strings.Join(cells, ""), "-: ") == "" {
			continue // blank, or the line below a Markdown heading
		}
		if columns == nil {
			var headed bool
			var err error
			if columns, headed, err = columnsOf(cells); err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
			if headed {
				continue
			}
		}
		if len(rows) == maxRows {
			return nil, fmt.Errorf("line %d: more than %d rows", n, maxRows)
		}
		row, err := rowOf(columns, cells)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		rows = append(rows, row)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("the table has no row with a batch size and a time in seconds")
	}
	return rows, nil
}

// cellsOf splits a line, and strips the marks of bold text and code.
func cellsOf(line string) []string {
	line = strings.TrimSpace(line)
	cells := strings.Fields(line)
	for _, separator := range []string{"|", "\t", ";", ","} {
		if strings.Contains(line, separator) {
			cells = strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, separator), separator), separator)
			break
		}
	}
	for i, c := range cells {
		cells[i] = strings.TrimSpace(strings.Trim(strings.TrimSpace(c), "*`"))
	}
	return cells
}

// column is a column that was understood.
type column struct {
	heading string
	kind    string
	unit    float64 // seconds in the heading's unit of time; 0: the cells say
	prompts int     // in the heading
}

var rateWords = regexp.MustCompile(`(req[a-z]*|prompts?|items?|quer[a-z]*|条|个)( ?/ ?(s\b|sec|秒)| per second)|\bqps\b|\brps\b`)

// kinds are the kinds of columns by words in their headings, in English and Chinese. The first that
// matches counts. Those without a name are not read.
var kinds = []struct {
	kind  string
	words *regexp.Regexp
}{
	{"", regexp.MustCompile(`rank|place|排名|名次`)},
	{"", regexp.MustCompile(`ttft|tpot|itl|latency|p\d\d|延迟|时延`)},
	{"", regexp.MustCompile(`per (item|request|prompt|token)|/ ?(item|request|prompt)\b|每条|单条|每个`)},
	{"", regexp.MustCompile(`tok[a-z]*( ?/ ?s| per s)|token ?/ ?秒|词元`)},
	{"rate", rateWords},
	{"size", regexp.MustCompile(`batch|size|setting|批|设置|配置`)},
	{"time", regexp.MustCompile(`time|duration|elapsed|wall|seconds|时间|耗时|用时|时长`)},
}

var (
	timeUnits = map[string]float64{
		"s": 1, "sec": 1, "secs": 1, "second": 1, "seconds": 1, "秒": 1,
		"ms": 1e-3, "msec": 1e-3, "millisecond": 1e-3, "milliseconds": 1e-3, "毫秒": 1e-3,
		"us": 1e-6, "µs": 1e-6, "μs": 1e-6, "微秒": 1e-6, "min": 60, "minutes": 60, "分": 60, "分钟": 60,
	}
	unitAtEnd   = regexp.MustCompile(`[\s(（]\s*(\pL+)\s*[)）]?$`)
	promptsIn   = regexp.MustCompile(`(\d+)\s*(?:条|个|prompts|requests|items)`)
	measurement = regexp.MustCompile(`^([0-9][0-9,]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*(\S*)$`)
)

const headings = "a batch size, a time for all prompts with its unit (s, ms, 秒, 毫秒), a rate (requests/s, 条/秒), " +
	"a time for each item, a latency or a rank"

// columnsOf reads a heading. A line with a number behind its first cell is none, and the columns are then
// a size and a time in seconds.
func columnsOf(cells []string) (columns []column, headed bool, err error) {
	if len(cells) < 2 {
		return nil, false, fmt.Errorf("must have a batch size and a time, got one column")
	}
	if slices.ContainsFunc(cells[1:], func(c string) bool { return c != "" && strings.ContainsAny(c[:1], "-+0123456789") }) {
		if len(cells) > 2 {
			return nil, false, fmt.Errorf("%d columns without a heading: expected one with %s", len(cells), headings)
		}
		return []column{{kind: "size"}, {kind: "time", unit: 1}}, false, nil
	}
	count := map[string]int{}
	for _, text := range cells {
		c, err := columnOf(text)
		if err != nil {
			return nil, false, err
		}
		if count[c.kind]++; c.kind != "" && count[c.kind] > 1 {
			return nil, false, fmt.Errorf("column %q: expected one column of this kind (%s), found two", text, c.kind)
		}
		columns = append(columns, c)
	}
	switch {
	case count["size"] == 0:
		return nil, false, fmt.Errorf("no column of batch sizes: expected one with a heading such as \"batch size\" or 批大小")
	case count["time"]+count["rate"] == 0:
		return nil, false, fmt.Errorf("no column of times: expected one with a heading such as \"time (s)\", \"requests/s\" or 总耗时（秒）")
	}
	return columns, true, nil
}

func columnOf(heading string) (column, error) {
	c := column{heading: heading}
	text := strings.ReplaceAll(strings.ToLower(heading), "_", " ")
	for _, k := range kinds {
		if !k.words.MatchString(text) {
			continue
		}
		c.kind = k.kind
		if m := promptsIn.FindStringSubmatch(text); m != nil {
			c.prompts, _ = strconv.Atoi(m[1])
		}
		if m := unitAtEnd.FindStringSubmatch(" " + text); m != nil && c.kind == "time" {
			c.unit = timeUnits[m[1]]
		}
		return c, nil
	}
	return c, fmt.Errorf("column %q: not understood, expected %s", heading, headings)
}

func rowOf(columns []column, cells []string) (row Row, err error) {
	if len(cells) != len(columns) {
		return row, fmt.Errorf("expected %d columns, one for each heading, got %d", len(columns), len(cells))
	}
	for i, c := range columns {
		switch c.kind {
		case "size":
			row.Name = cells[i]
		case "time":
			row.Prompts = c.prompts
			row.Seconds, err = c.number(cells[i], true)
		case "rate":
			row.Rate, err = c.number(cells[i], false)
		}
		if err != nil {
			return row, err
		}
	}
	return row, nil
}

// number reads a cell: a time in seconds, or a rate.
func (c column) number(cell string, isTime bool) (float64, error) {
	expected := "a number above 0"
	if isTime {
		expected = "a time above 0 with its unit (s, ms, 秒, 毫秒), here or in the heading"
	}
	wrong := fmt.Errorf("column %q: expected %s, got %q", cmp.Or(c.heading, c.kind), expected, cell)
	m := measurement.FindStringSubmatch(cell)
	if m == nil {
		return 0, wrong
	}
	v, err := strconv.ParseFloat(strings.ReplaceAll(m[1], ",", ""), 64)
	if err != nil || !(v > 0) {
		return 0, wrong
	}
	if !isTime {
		if m[2] != "" && !rateWords.MatchString(strings.ToLower(m[2])) {
			return 0, wrong
		}
		return v, nil
	}
	own := timeUnits[strings.ToLower(m[2])]
	another := own != 0 && c.unit != 0 && own != c.unit && c.heading != ""
	if v *= cmp.Or(own, c.unit); !(v > 0) || another || m[2] != "" && own == 0 {
		return 0, wrong
	}
	return v, nil
}
