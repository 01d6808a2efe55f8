package command

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/term"

	"paceline/loadgen/number"
	"paceline/loadgen/report"
	"paceline/loadgen/sweep"
)

// line shows the progress of a sweep: a line for each finished run and, on a terminal, a live line.
type line struct {
	out      *os.File
	terminal bool
	progress *atomic.Pointer[sweep.RunProgress]
	begun    time.Time
	finished atomic.Int64 // runs of this process
}

func newLine(out *os.File, p *atomic.Pointer[sweep.RunProgress]) *line {
	return &line{out: out, terminal: term.IsTerminal(int(out.Fd())), progress: p, begun: time.Now()}
}

const renew = "\r\x1b[K" // goes to the beginning of the line and clears it

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
			l.write(renew)
			return
		case <-tick.C:
			if run := l.progress.Load(); run != nil {
				text := describeRun(run, l.remaining(run))
				if width, _, err := term.GetSize(int(l.out.Fd())); err == nil {
					text = cut(text, width)
				}
				l.write(renew + text)
			}
		}
	}
}

// describeRun describes the progress of a run. The most important part comes first, because a
// narrow terminal cuts the rest.
func describeRun(r *sweep.RunProgress, remaining string) string {
	of := ""
	if r.Pass.Of > 0 {
		of = fmt.Sprintf("/%d", r.Pass.Of)
	}
	text := fmt.Sprintf("run %d%s%s  %s %s #%d  %d/%d  %.0f/s  %d in flight",
		r.Pass.Number, of, remaining, r.Pass.Setting.Name(), r.Pass.Phase, r.Pass.Repeat,
		r.Answered(), r.Total, r.Throughput(), r.InFlight())
	if failed := r.Failed(); failed > 0 {
		text += fmt.Sprintf("  %d FAILED", failed)
	}
	if p50, p99, ok := r.Latency(); ok {
		text += fmt.Sprintf("  p50 %s p99 %s", seconds(p50), seconds(p99))
	}
	return text
}

// remaining estimates the real time until the end of the sweep from the pace so far. It is empty
// before the first run is finished.
func (l *line) remaining(r *sweep.RunProgress) string {
	finished := l.finished.Load()
	if finished == 0 || r.Pass.Of == 0 { // a search does not know how many runs are to come
		return ""
	}
	left := timeLeft(time.Since(l.begun), float64(finished)+r.Share(), float64(r.Pass.Of-r.Pass.Number)+1-r.Share())
	return fmt.Sprintf(", %s left", left)
}

// timeLeft estimates how long toCome runs take, if each takes as long as those done. The estimate
// is rounded to its precision.
func timeLeft(elapsed time.Duration, done, toCome float64) string {
	left := time.Duration(float64(elapsed) * max(0, toCome) / done)
	precision := 10 * time.Minute
	switch {
	case left < 2*time.Minute:
		return left.Round(time.Second).String()
	case left < 2*time.Hour:
		precision = time.Minute
	}
	return strings.TrimSuffix(left.Round(precision).String(), "0s")
}

// seconds formats a latency in few characters.
func seconds(v float64) string {
	if v < 1 {
		return number.Significant(1000*v, 2) + "ms"
	}
	return number.Significant(v, 2) + "s"
}

// cut shortens a text to one column less than width, because a full line would scroll. It takes
// each character for one column.
func cut(text string, width int) string {
	if runes := []rune(text); width > 1 && len(runes) >= width {
		return string(runes[:width-1])
	}
	return text
}

// write shows text. It ignores errors: measuring goes on without a terminal.
func (l *line) write(text string) { _, _ = io.WriteString(l.out, text) }

// measured prints a finished run.
func (l *line) measured(r report.Run) {
	l.finished.Add(1)
	if l.terminal {
		l.write(renew)
	}
	marks := ""
	if r.Failed > 0 {
		marks += fmt.Sprintf("  %d failed", r.Failed)
	}
	if !r.Complete {
		marks += "  INCOMPLETE"
	}
	if why := r.Impossible(); why != "" {
		l.write(fmt.Sprintf("batch %-9s  %-4s  repeat %d  %4d/%d, no figure: token counts that can't be true, %s%s\n",
			r.Setting, r.Phase, r.Repeat, r.Completed, r.Total, why, marks))
		return
	}
	if o := r.Outcome; o != nil {
		verdict := "broken"
		if o.Kept {
			verdict = "kept"
		}
		l.write(fmt.Sprintf("batch %-9s  %-4s  %8.4g/s  %6s by %5.1f%% of %d, p99 %s%s\n",
			r.Setting, r.Phase, r.Rate, verdict, 100*o.Within, r.Total, seconds(r.Due().LatencyFromIntended.P99), marks))
		return
	}
	l.write(fmt.Sprintf("batch %-9s  %-4s  repeat %d  %4d/%d in %7.2f s  %8.1f/s  %3.0f%% cached  %5.2f per batch%s\n",
		r.Setting, r.Phase, r.Repeat, r.Completed, r.Total, r.WallSeconds, r.RequestThroughput,
		100*r.CachedShare(), r.EffectiveBatchSize, marks))
}
