// Package cli adds to package flag what loadgen's commands need: help sorted by subject (FlagSet),
// one call that defines a flag with its default and help (Define), and flags that a function parses
// (Parsed). It knows none of loadgen's flags.
package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"paceline/proxy/suggest"
)

// FlagSet is a flag.FlagSet whose help begins with a text and lists the flags by subject, in the
// order in which they were defined.
type FlagSet struct {
	*flag.FlagSet
	usage string
	help  []string // names of flags, and titles; titles end with a colon
}

// New returns a FlagSet whose help begins with usage.
func New(name, usage string) *FlagSet {
	f := &FlagSet{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError), usage: usage}
	f.SetOutput(io.Discard) // the caller prints the error
	return f
}

// Define adds a flag with its default and its help. p is a flag.Value or points to a type of
// package flag.
func Define[T any](f *FlagSet, p *T, value T, name, help string) {
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

// Each adds a flag that may be given several times: set is called with each value.
func (f *FlagSet) Each(name string, set func(string) error, help string) {
	f.help = append(f.help, name)
	f.Func(name, help, set)
}

// Title starts a new subject of the help.
func (f *FlagSet) Title(text string) { f.help = append(f.help, text+":") }

// Read parses args. The error of an unknown flag names the nearest one. flag.ErrHelp means that the help was written to w.
func (f *FlagSet) Read(args []string, w io.Writer) error {
	err := suggest.Flag(f.FlagSet, f.Parse(args))
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

func (f *FlagSet) printHelp(w io.Writer) {
	var b strings.Builder
	b.WriteString(f.usage)
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

// wrap breaks a text into lines between words.
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

// Parsed is a flag whose text a function parses.
type Parsed[T any] struct {
	Value T
	Text  string
	read  func(string) (T, error)
}

// Parse returns a Parsed with a default text that read must accept.
func Parse[T any](text string, read func(string) (T, error)) Parsed[T] {
	p := Parsed[T]{read: read}
	if err := p.Set(text); err != nil {
		panic(err)
	}
	return p
}

// String implements flag.Value.
func (p *Parsed[T]) String() string { return p.Text }

// Set implements flag.Value.
func (p *Parsed[T]) Set(text string) (err error) {
	p.Text = text
	p.Value, err = p.read(text)
	return err
}

// List returns a function that parses at least minValues values, separated by commas. It skips empty
// ones. For a value that read refuses, the error is the value followed by wrong.
func List[T any](minValues int, read func(string) (T, error), wrong string) func(string) ([]T, error) {
	return func(text string) (values []T, err error) {
		for field := range strings.SplitSeq(text, ",") {
			field = strings.TrimSpace(field)
			if field == "" {
				continue
			}
			v, err := read(field)
			if err != nil {
				return nil, fmt.Errorf("%q %s", field, wrong)
			}
			values = append(values, v)
		}
		if len(values) < minValues {
			return nil, errors.New("must hold a value")
		}
		return values, nil
	}
}

// Word accepts any text.
func Word[T ~string](text string) (T, error) { return T(text), nil }
