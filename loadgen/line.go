package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"paceline/loadgen/report"
	"paceline/loadgen/sweep"
)

// line shows where a sweep is: one line that renews itself on a terminal, and
// one line for each finished run everywhere.
type line struct {
	out      *os.File
	terminal bool
	progress *sweep.Progress
}

func newLine(out *os.File, p *sweep.Progress) *line {
	return &line{out: out, terminal: term.IsTerminal(int(out.Fd())), progress: p}
}

// show renews the line until ctx ends. It does nothing without a terminal.
func (l *line) show(ctx context.Context) {
	if !l.terminal {
		return
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			l.clear()
			return
		case <-tick.C:
			if run := l.progress.Run(); run != nil {
				l.clear()
				l.write(l.cut(describe(run)))
			}
		}
	}
}

func describe(r *sweep.RunProgress) string {
	text := fmt.Sprintf("run %d/%d  batch %s, %s, repeat %d  %d/%d answered  %.0f/s",
		r.Number, r.Of, r.Setting.Name(), r.Phase, r.Repeat, r.Answered(), r.Total, r.Throughput())
	if failed := r.Failed(); failed > 0 {
		text += fmt.Sprintf("  %d FAILED", failed)
	}
	return text
}

// cut keeps the line within the terminal, or renewing it would scroll.
func (l *line) cut(text string) string {
	if width, _, err := term.GetSize(int(l.out.Fd())); err == nil && len(text) >= width && width > 1 {
		return text[:width-1]
	}
	return text
}

func (l *line) clear() {
	if l.terminal {
		l.write("\r\x1b[K")
	}
}

// write shows text. A terminal that can't be written to is no reason to stop
// measuring.
func (l *line) write(text string) { _, _ = io.WriteString(l.out, text) }

// measured prints a finished run.
func (l *line) measured(r report.Run) {
	l.clear()
	l.write(runLine(r))
}

func runLine(r report.Run) string {
	var marks strings.Builder
	if r.Failed > 0 {
		fmt.Fprintf(&marks, "  %d failed", r.Failed)
	}
	if !r.Complete {
		marks.WriteString("  INCOMPLETE")
	}
	return fmt.Sprintf("batch %-9s  %-4s  repeat %d  %4d/%d in %7.2f s  %8.1f/s  %3.0f%% cached  %5.2f per batch%s\n",
		r.Setting, r.Phase, r.Repeat, r.Completed, r.Total, r.WallSeconds, r.RequestThroughput,
		100*r.CachedShare(), r.EffectiveBatchSize, marks.String())
}
