package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"paceline/loadgen/report"
	"paceline/loadgen/report/render"
)

const mergeUsage = `loadgen merge joins the reports of all shards of one load (-shard i/n) to one: counts,
tokens and histograms exactly, the time of each run from the earliest start to the
latest end by the shards' clocks.

  go run ./loadgen merge -out all shard0 shard1 shard2 shard3

Each directory holds a shard's results.json and requests.jsonl.

Flags:
`

// runMerge is the subcommand merge.
func runMerge(args []string, w io.Writer) error {
	var out string
	f := flag.NewFlagSet("loadgen merge", flag.ContinueOnError)
	f.StringVar(&out, "out", "", "`directory` for the joined report (default results/<time>)")
	switch err := parseFlags(f, args, mergeUsage, w); {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return inputError{err}
	case f.NArg() == 0:
		return inputError{errors.New("merge: must be given the directories of all shards, got none")}
	}
	reports, requests := make([]report.Report, f.NArg()), make([][]report.Request, f.NArg())
	for i, dir := range f.Args() {
		var err error
		if reports[i], err = readResults(dir); err != nil {
			return inputError{err}
		}
		if requests[i], err = readRequests(filepath.Join(dir, requestsFile)); err != nil {
			return inputError{err}
		}
	}
	merged, all, err := report.Merge(reports, requests)
	if err != nil {
		return inputError{fmt.Errorf("merge: %w", err)}
	}
	dir, err := makeSweepOutput(options{out: out})
	if err != nil {
		return inputError{err}
	}
	if err := writeFile(filepath.Join(dir, requestsFile), func(f *os.File) error { return report.WriteRequests(f, all) }); err != nil {
		return err
	}
	return conclude(merged, render.English, dir, slog.New(slog.DiscardHandler))
}

// readRequests reads a requests.jsonl; a missing one has none.
func readRequests(path string) (all []report.Request, err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	for lines := json.NewDecoder(bufio.NewReader(f)); ; {
		var q report.Request
		err := lines.Decode(&q)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: request %d: %w", path, len(all)+1, err)
		}
		all = append(all, q)
	}
}
