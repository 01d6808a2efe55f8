package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"paceline/loadgen/report"
	"paceline/loadgen/report/figures"
	"paceline/loadgen/report/render"
)

const compareUsage = `loadgen compare sets two reports beside each other, setting by setting, and says
which differences their repeats can tell.

  go run ./loadgen compare before/results.json after/results.json
  go run ./loadgen compare before after             the folders will do
`

// runCompare is the subcommand compare.
func runCompare(args []string, w io.Writer) error {
	f := flag.NewFlagSet("loadgen compare", flag.ContinueOnError)
	switch err := parseFlags(f, args, compareUsage, w); {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return inputError{err}
	case f.NArg() != 2:
		return inputError{fmt.Errorf("compare: must be given two reports, got %d", f.NArg())}
	}
	before, err := readResults(f.Arg(0))
	if err != nil {
		return inputError{err}
	}
	after, err := readResults(f.Arg(1))
	if err != nil {
		return inputError{err}
	}
	if err := render.WriteComparison(w, figures.Compare(before, after)); err != nil {
		return inputError{err}
	}
	return nil
}

// readResults reads a results.json, or the one in a folder.
func readResults(path string) (report.Report, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, "results.json")
	}
	f, err := os.Open(path)
	if err != nil {
		return report.Report{}, err
	}
	defer f.Close() //nolint:errcheck // only read
	r, err := report.ReadJSON(f)
	if err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}
