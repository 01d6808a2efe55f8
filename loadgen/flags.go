package main

import (
	"embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"paceline/loadgen/report"
)

//go:embed help
var helpFiles embed.FS

// flagSet is a flag.FlagSet whose help begins with help/NAME.txt and lists the flags by subject,
// in the order in which they were defined.
type flagSet struct {
	*flag.FlagSet
	help []string // names of flags, and titles, which end with a colon
}

func newFlagSet(name string) *flagSet {
	f := &flagSet{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError)}
	f.SetOutput(io.Discard) // one message, ours
	return f
}

// define adds a flag with its default and its help. p is a flag.Value or points to a type of
// package flag.
func define[T any](f *flagSet, p *T, value T, name, help string) {
	*p = value
	f.help = append(f.help, name)
	switch p := any(p).(type) {
	case flag.Value:
		f.Var(p, name, help)
	case *int:
		f.IntVar(p, name, *p, help)
	case *uint:
		f.UintVar(p, name, *p, help)
	case *uint64:
		f.Uint64Var(p, name, *p, help)
	case *float64:
		f.Float64Var(p, name, *p, help)
	case *bool:
		f.BoolVar(p, name, *p, help)
	case *string:
		f.StringVar(p, name, *p, help)
	case *time.Duration:
		f.DurationVar(p, name, *p, help)
	default:
		panic(fmt.Sprintf("-%s is a %T", name, p))
	}
}

// title begins a subject of the help.
func (f *flagSet) title(text string) { f.help = append(f.help, text+":") }

// removed refuses a flag that there was, and says what replaces it.
func (f *flagSet) removed(name, replacement string) {
	f.Func(name, "", func(string) error { return errors.New("was removed: " + replacement) })
}

// parse reads args. flag.ErrHelp means that it has written the help to w.
func (f *flagSet) parse(args []string, w io.Writer) error {
	err := f.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		f.printHelp(w)
	}
	return err
}

// Widths of the help, in characters.
const (
	helpIndent = 26
	helpWidth  = 98
)

func (f *flagSet) printHelp(w io.Writer) {
	var b strings.Builder
	usage, _ := helpFiles.ReadFile("help/" + f.Name() + ".txt") // a test reads each
	b.Write(usage)
	for _, name := range f.help {
		if title, ok := strings.CutSuffix(name, ":"); ok {
			fmt.Fprintf(&b, "\n%s\n", title)
			continue
		}
		one := f.Lookup(name)
		value, text := flag.UnquoteUsage(one)
		head := strings.TrimRight("  -"+name+" "+value, " ")
		if d := one.DefValue; !slices.Contains([]string{"", "0", "false", "0s"}, d) && !strings.Contains(text, "default") {
			text += " (default " + d + ")"
		}
		if len(head) > helpIndent-2 {
			b.WriteString(head + "\n")
			head = ""
		}
		for _, line := range wrap(text, helpWidth-helpIndent) {
			fmt.Fprintf(&b, "%-*s%s\n", helpIndent, head, line)
			head = ""
		}
	}
	_, _ = io.WriteString(w, b.String()) // there is nowhere else to report an error
}

// wrap breaks a text between words.
func wrap(text string, width int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) > width:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}

// list is a flag of values that commas separate. Empty ones are skipped.
type list[T any] struct {
	values []T
	text   string
	read   func(string) (T, error)
	wrong  string // what an error says of a value that can't be read
}

func listOf[T any](text string, read func(string) (T, error), wrong string) list[T] {
	l := list[T]{read: read, wrong: wrong}
	_ = l.Set(text) // a default, which a test reads
	return l
}

func (l *list[T]) String() string { return l.text }

func (l *list[T]) Set(text string) error {
	l.text, l.values = text, nil
	for field := range strings.SplitSeq(text, ",") {
		field = strings.TrimSpace(field)
		if field == "" {
			continue
		}
		v, err := l.read(field)
		if err != nil {
			return fmt.Errorf("%q %s", field, l.wrong)
		}
		l.values = append(l.values, v)
	}
	return nil
}

// word reads a value of a list of words, which the plan validates.
func word[T ~string](s string) (T, error) { return T(s), nil }

// share is a flag such as 2%, ±2% or 0.02.
type share float64

func (s *share) String() string {
	if *s == 0 {
		return "0"
	}
	return strconv.FormatFloat(100*float64(*s), 'g', 6, 64) + "%"
}

func (s *share) Set(text string) error {
	number, percent := strings.CutSuffix(strings.TrimPrefix(strings.TrimSpace(text), "±"), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v >= 0 && v < 1) {
		return fmt.Errorf("must be a share such as 2%%, got %q", text)
	}
	*s = share(v)
	return nil
}

// rate is a flag such as 20 or 5..50, in conversations per second.
type rate struct {
	text     string
	from, to float64
}

func (r *rate) String() string { return r.text }

func (r *rate) Set(text string) error {
	first, last, ramp := strings.Cut(text, "..")
	if !ramp {
		last = first
	}
	var err, errTo error
	r.text = text
	r.from, err = strconv.ParseFloat(first, 64)
	r.to, errTo = strconv.ParseFloat(last, 64)
	if text != "" && (err != nil || errTo != nil) {
		return fmt.Errorf("expected conversations a second such as 20, or 5..50 for a ramp, got %q", text)
	}
	return nil
}

// startTime is a flag such as 2026-12-01T08:00:00Z; the zero value is at once.
type startTime struct{ time.Time }

func (s *startTime) String() string {
	if s.IsZero() {
		return ""
	}
	return s.Format(time.RFC3339)
}

func (s *startTime) Set(text string) (err error) {
	if text == "" {
		*s = startTime{}
		return nil
	}
	if s.Time, err = time.Parse(time.RFC3339, text); err != nil {
		return fmt.Errorf("must be a time such as 2026-12-01T08:00:00Z, got %q", text)
	}
	return nil
}

// passed refuses a time that has passed.
func (s *startTime) passed() error {
	if s.IsZero() || time.Now().Before(s.Time) {
		return nil
	}
	return fmt.Errorf("-start-at: %s has passed: it is %s", s, time.Now().Format(time.RFC3339))
}

// thresholds is a flag that may be given several times.
type thresholds []report.Threshold

func (t *thresholds) String() string { return "" }

func (t *thresholds) Set(text string) error {
	one, err := report.ParseThreshold(text)
	*t = append(*t, one)
	return err
}
