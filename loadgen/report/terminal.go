package report

import (
	"bytes"
	"fmt"
	"io"

	"paceline/loadgen/number"
	"paceline/loadgen/phrase"
)

// WriteTerminal writes a summary for the end of a sweep: a table for each phase
// and the conclusion.
func WriteTerminal(w io.Writer, r Report, l phrase.Language) error {
	r = r.settled()
	phases := r.phases()
	var b bytes.Buffer
	fmt.Fprintf(&b, "\n%s\n", r.Title().In(l))
	for _, p := range phases {
		fmt.Fprintf(&b, "\n%s\n", phrase.Capital(phaseName(p.name)).In(l))
		terminalTable(&b, p, l)
	}
	b.WriteByte('\n')
	for _, sentence := range r.conclusion(phases) {
		fmt.Fprintln(&b, sentence.In(l))
	}
	if bad := r.impossible(phases); len(bad) > 0 {
		fmt.Fprintln(&b, phrase.Say("Impossible on %s: %s. See Plausibility in the report.", r.Limits.Device.Name, phrase.Series(bad)).In(l))
	}
	terminalTraces(&b, r, l)
	_, err := w.Write(b.Bytes())
	return err
}

// terminalHead is the ranking's, in fewer words.
var terminalHead = []string{"batch size", "time (s)", "requests/s", "s per item", "rank", "range", "effective", "cached", "answered"}

func terminalTable(b *bytes.Buffer, p phase, l phrase.Language) {
	var rows [][]string
	var head []string
	for _, format := range terminalHead {
		head = append(head, phrase.Term(format).In(l))
	}
	rows = append(rows, head)
	marked := false
	for _, c := range p.cells {
		marked = marked || c.marked()
		name := combination(c.setting).In(l)
		if c.marked() {
			name += " *"
		}
		row := []string{name, "–", "–", "–", "–", "–", "–", "–"}
		if len(c.runs) > 0 {
			row = []string{name, number.Significant(c.wall, 4), rate(c.throughput), short(c.perItem), c.rankText(), c.rangeText(), c.effectiveText(), shareText(c.cachedShare)}
		}
		rows = append(rows, append(row, fmt.Sprintf("%d/%d", c.completed, c.total)))
	}
	writeColumns(b, rows)
	if marked {
		fmt.Fprintln(b, phrase.Say("* not all prompts were answered").In(l))
	}
}
