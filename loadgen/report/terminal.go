package report

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// WriteTerminal writes a summary for the end of a run: a table for each phase
// and the conclusion.
func WriteTerminal(w io.Writer, r Report) error {
	fmt.Fprintf(w, "\n%s\n", r.Title())
	for _, phase := range r.phases() {
		fmt.Fprintf(w, "\n%s\n", upperFirst(phase))
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(t, "batch size\ttime (s)\trequests/s\trange\ts per item\trank\teffective\tcached\tanswered\t")
		for _, c := range r.cells(phase) {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s – %s\t%s\t%d\t%s\t%.1f %%\t%d/%d\t\n", c.setting, significant(c.wall, 4), rate(c.throughput),
				rate(c.low), rate(c.high), significant(c.perItem, 3), c.rank, effective(c), 100*c.cachedShare, c.completed, c.total)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	fmt.Fprintln(w)
	for _, sentence := range r.conclusion() {
		if _, err := fmt.Fprintln(w, sentence); err != nil {
			return err
		}
	}
	return nil
}
