package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"paceline/loadgen/number"
)

// WriteTerminal writes a summary for the end of a sweep: a table for each phase
// and the conclusion.
func WriteTerminal(w io.Writer, r Report) error {
	r = r.settled()
	phases := r.phases()
	var b bytes.Buffer
	fmt.Fprintf(&b, "\n%s\n", r.Title())
	for _, p := range phases {
		fmt.Fprintf(&b, "\n%s\n", upperFirst(p.name))
		if err := writeTable(&b, p); err != nil {
			return err
		}
	}
	b.WriteByte('\n')
	for _, sentence := range r.conclusion(phases) {
		fmt.Fprintln(&b, sentence)
	}
	if bad := r.impossible(phases); len(bad) > 0 {
		fmt.Fprintf(&b, "Impossible on %s: %s. See Plausibility in the report.\n", r.Limits.Device.Name, strings.Join(bad, ", "))
	}
	terminalTraces(&b, r)
	_, err := w.Write(b.Bytes())
	return err
}

func writeTable(w io.Writer, p phase) error {
	var b strings.Builder
	fmt.Fprintln(&b, "batch size\ttime (s)\trequests/s\ts per item\trank\trange\teffective\tcached\tanswered\t")
	marked := false
	for _, c := range p.cells {
		marked = marked || c.marked()
		name := c.setting
		if c.marked() {
			name += " *"
		}
		figures := []string{"–", "–", "–", "–", "–", "–", "–"}
		if len(c.runs) > 0 {
			figures = []string{number.Significant(c.wall, 4), rate(c.throughput), short(c.perItem), c.rankText(), c.rangeText(), c.effectiveText(), shareText(c.cachedShare)}
		}
		fmt.Fprintf(&b, "%s\t%s\t%d/%d\t\n", name, strings.Join(figures, "\t"), c.completed, c.total)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	if _, err := io.WriteString(t, b.String()); err != nil {
		return err
	}
	if err := t.Flush(); err != nil || !marked {
		return err
	}
	_, err := io.WriteString(w, "* not all prompts were answered\n")
	return err
}
