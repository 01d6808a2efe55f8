package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"paceline/loadgen/journal"
	"paceline/loadgen/phrase"
	"paceline/loadgen/report"
)

// compareCommand sets two reports side by side.
var compareCommand = subcommand{
	args: "two reports", most: 2,
	define: func(*flagSet) runner {
		return func(_ context.Context, args []string, _ io.Reader, out io.Writer) error {
			before, err := readResults(args[0])
			if err != nil {
				return inputError{err}
			}
			after, err := readResults(args[1])
			if err != nil {
				return inputError{err}
			}
			if err := report.WriteComparison(out, before, after); err != nil {
				return inputError{err}
			}
			return nil
		}
	},
}

// mergeCommand joins the reports of shards.
var mergeCommand = subcommand{
	args: "the directories of all shards",
	define: func(f *flagSet) runner {
		var dir string
		define(f, &dir, "", "out", "`directory` for the joined report (default results/<time>)")
		return func(_ context.Context, args []string, _ io.Reader, _ io.Writer) error { return mergeReports(args, dir) }
	},
}

func mergeReports(shards []string, dir string) error {
	reports, requests := make([]report.Report, len(shards)), make([][]report.Request, len(shards))
	for i, shard := range shards {
		var err error
		if reports[i], err = readResults(shard); err != nil {
			return inputError{err}
		}
		if requests[i], err = journal.ReadRequests(shard); err != nil {
			return inputError{err}
		}
	}
	merged, all, err := report.Merge(reports, requests)
	if err != nil {
		return inputError{fmt.Errorf("merge: %w", err)}
	}
	if dir, err = makeSweepOutput(output{dir: dir}); err != nil {
		return inputError{err}
	}
	err = writeFile(filepath.Join(dir, journal.RequestsFile), func(f *os.File) error { return report.WriteRequests(f, all) })
	if err != nil {
		return err
	}
	return conclude(merged, phrase.English, dir, slog.New(slog.DiscardHandler))
}

// reportCommand writes the pages of a report again.
var reportCommand = subcommand{
	args: "the directory of one report", most: 1,
	define: func(f *flagSet) runner {
		var language, dir string
		define(f, &language, string(phrase.English), "lang", "`language` of the report: en or zh")
		define(f, &dir, "", "out", "`directory` to write to (default: where the report is)")
		return func(_ context.Context, args []string, _ io.Reader, out io.Writer) error {
			lang, err := phrase.Named(language)
			if err != nil {
				return inputError{fmt.Errorf("-lang: %w", err)}
			}
			return rewrite(out, args[0], dir, lang)
		}
	},
}

func rewrite(w io.Writer, from, to string, lang phrase.Language) error {
	r, err := readResults(from)
	if err != nil {
		return inputError{err}
	}
	if info, err := os.Stat(from); err == nil && !info.IsDir() {
		from = filepath.Dir(from)
	}
	digest, err := readDigest(from)
	if err != nil {
		return inputError{err}
	}
	if to == "" {
		to = from
	}
	if to, err = makeOutput(output{dir: to}); err != nil {
		return inputError{err}
	}
	if err := errors.Join(writePages(r, digest, lang, to), report.WriteTerminal(w, r, lang)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "\n%s\n", phrase.Say("report: %s", filepath.Join(to, "report.html")).In(lang))
	return err
}

// schemaCommand prints the JSON Schema of results.json.
var schemaCommand = subcommand{
	define: func(*flagSet) runner {
		return func(_ context.Context, _ []string, _ io.Reader, out io.Writer) error {
			_, err := out.Write(report.Schema)
			return err
		}
	},
}
