package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"paceline/loadgen/report/figures"
	"paceline/loadgen/report/render"
)

const reportUsage = `loadgen report writes report.md and report.html anew from a report's results.json
and requests.jsonl, in either language, and prints the summary.

  go run ./loadgen report -lang zh results/20261123-180718
  go run ./loadgen report -out elsewhere results/20261123-180718

Flags:
`

// runReport is the subcommand report.
func runReport(args []string, w io.Writer) error {
	var language, out string
	f := flag.NewFlagSet("loadgen report", flag.ContinueOnError)
	f.StringVar(&language, "lang", render.English.Code, "`language` of the report: en or zh")
	f.StringVar(&out, "out", "", "`directory` to write to (default: where the report is)")
	switch err := parseFlags(f, args, reportUsage, w); {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return inputError{err}
	case f.NArg() != 1:
		return inputError{fmt.Errorf("report: must be given the directory of one report, got %d", f.NArg())}
	}
	l, err := render.Named(language)
	if err != nil {
		return inputError{fmt.Errorf("-lang: %w", err)}
	}
	dir := f.Arg(0)
	r, err := readResults(dir)
	if err != nil {
		return inputError{err}
	}
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		dir = filepath.Dir(dir)
	}
	digest, err := readDigest(dir)
	if err != nil {
		return inputError{err}
	}
	if out == "" {
		out = dir
	}
	if out, err = makeOutput(options{out: out}); err != nil {
		return inputError{err}
	}
	if err := writePages(w, figures.Of(r, digest), l, out); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "\n%s\n", render.Made(filepath.Join(out, "report.html"), l))
	return err
}

// readDigest reads the requests of a report. Without a file of them there are none.
func readDigest(dir string) (d figures.Digest, err error) {
	path := filepath.Join(dir, "requests.jsonl")
	f, err := os.Open(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return d, nil
	case err != nil:
		return d, err
	}
	defer f.Close() //nolint:errcheck // only read
	if d, err = figures.ReadDigest(f); err != nil {
		return d, fmt.Errorf("%s: %w", dir, err)
	}
	return d, nil
}
