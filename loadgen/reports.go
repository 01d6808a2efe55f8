package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"paceline/loadgen/cli"
	"paceline/loadgen/journal"
	"paceline/loadgen/phrase"
	"paceline/loadgen/report"
)

const resultsFile = "results.json"

// output says where a report is written.
type output struct {
	dir    string // empty: a new directory in results, named after the time
	resume bool   // dir holds the sweep that goes on
	suffix string // of a new directory
}

func (o options) output() output {
	switch {
	case o.resume != "":
		return output{dir: o.resume, resume: true}
	case o.part.Of > 0: // other shards may begin in the same second
		return output{dir: o.out, suffix: fmt.Sprintf("-shard-%d", o.part.Index)}
	}
	return output{dir: o.out}
}

// makeSweepOutput makes the directory for a sweep. It spares a directory in which another sweep
// has measured what it has not reported.
func makeSweepOutput(o output) (string, error) {
	if !o.resume && o.dir != "" && unfinished(o.dir) {
		return "", fmt.Errorf("-out: %s holds a sweep that was cut short: go on with it by -resume %s, or name another directory", o.dir, o.dir)
	}
	return makeOutput(o)
}

// makeOutput makes the directory of a report.
func makeOutput(o output) (string, error) {
	dir := o.dir
	if dir == "" {
		dir = filepath.Join("results", time.Now().Format("20060102-150405")+o.suffix)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("-out: %w", err)
	}
	return dir, nil
}

// unfinished reports whether a directory holds runs of a sweep that was cut short: a journal, and
// no report of all of it.
func unfinished(dir string) bool {
	held, err := journal.Read(dir)
	if err != nil || len(held.Runs) == 0 {
		return false
	}
	r, err := readResults(dir)
	return err != nil || r.Partial || r.CreatedAt.Before(held.At) || len(r.Resumed) < len(held.Resumed)
}

// conclude writes the report and prints its summary. The error says what the figures suffer
// from, so that it reaches the exit status.
func conclude(r report.Report, lang phrase.Language, out string, log *slog.Logger) error {
	r.Files = []string{"report.md", "report.html", resultsFile, "bench.txt"}
	for _, name := range []string{journal.RunsFile, journal.RequestsFile, "run.log"} {
		if _, err := os.Stat(filepath.Join(out, name)); err == nil {
			r.Files = append(r.Files, name)
		}
	}
	var errs []error
	if cells := r.Latencies(); len(cells) > 0 {
		errs = append(errs, writeLatencies(filepath.Join(out, "latency"), cells))
		r.Files = append(r.Files, "latency/*.hgrm")
	}
	digest, err := readDigest(out)
	if err != nil {
		log.Warn(journal.RequestsFile, "error", err) // the report goes without
	}
	errs = append(errs, // the data first: everything else can be made from it
		writeFile(filepath.Join(out, resultsFile), func(f *os.File) error { return report.WriteJSON(f, r) }),
		writeFile(filepath.Join(out, "bench.txt"), func(f *os.File) error { return report.WriteBenchmarks(f, r) }),
		writePages(r, digest, lang, out))
	if err := errors.Join(append(errs, report.WriteTerminal(os.Stdout, r, lang))...); err != nil {
		return err
	}
	fmt.Printf("\n%s\n", phrase.Say("report: %s", filepath.Join(out, "report.html")).In(lang))
	failed, dropped := 0, 0
	for _, run := range r.Runs {
		failed += run.Failed
		dropped += run.Dropped()
	}
	log.Info("end", "runs", len(r.Runs), "failed_requests", failed, "partial", r.Partial)
	switch {
	case failed > 0 && !r.Partial:
		return fmt.Errorf("%d requests failed: the report counts them, by cause", failed)
	case dropped > 0 && !r.Partial:
		return fmt.Errorf("%d requests were dropped, because -most-outstanding were under way when they were due", dropped)
	}
	return nil
}

// writePages writes what people read.
func writePages(r report.Report, digest report.Digest, lang phrase.Language, out string) error {
	return errors.Join(
		writeFile(filepath.Join(out, "report.md"), func(f *os.File) error { return report.WriteMarkdown(f, r, lang) }),
		writeFile(filepath.Join(out, "report.html"), func(f *os.File) error { return report.WriteHTML(f, r, digest, lang) }),
	)
}

// writeLatencies writes the latencies of each cell as HdrHistogram's tools read them.
func writeLatencies(dir string, cells []report.Latencies) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("-out: %w", err)
	}
	var errs []error
	for _, c := range cells {
		errs = append(errs, writeFile(filepath.Join(dir, c.Name()+".hgrm"), func(f *os.File) error { return c.Histogram.WritePercentiles(f) }))
	}
	return errors.Join(errs...)
}

func writeFile(path string, write func(*os.File) error) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("-out: %w", err)
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func openLog(dir string) (*slog.Logger, func(), error) {
	f, err := os.OpenFile(filepath.Join(dir, "run.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644) // a resumed sweep appends
	if err != nil {
		return nil, nil, fmt.Errorf("-out: %w", err)
	}
	return slog.New(slog.NewTextHandler(f, nil)), func() { _ = f.Close() }, nil
}

// readResults reads a results.json, or the one in a directory.
func readResults(path string) (report.Report, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, resultsFile)
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

// readDigest reads the requests of a report. Without a file of them there are none.
func readDigest(dir string) (d report.Digest, err error) {
	f, err := os.Open(filepath.Join(dir, journal.RequestsFile))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return d, nil
	case err != nil:
		return d, err
	}
	defer f.Close() //nolint:errcheck // only read
	if err := d.Read(f); err != nil {
		return d, fmt.Errorf("%s: %w", dir, err)
	}
	return d, nil
}

// compareCommand sets two reports side by side.
var compareCommand = subcommand{
	args: "two reports", most: 2,
	define: func(*cli.FlagSet) runner {
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
	define: func(f *cli.FlagSet) runner {
		var dir string
		cli.Define(f, &dir, "", "out", "`directory` for the joined report (default results/<time>)")
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
	define: func(f *cli.FlagSet) runner {
		var language, dir string
		cli.Define(f, &language, string(phrase.English), "lang", "`language` of the report: en or zh")
		cli.Define(f, &dir, "", "out", "`directory` to write to (default: where the report is)")
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
	define: func(*cli.FlagSet) runner {
		return func(_ context.Context, _ []string, _ io.Reader, out io.Writer) error {
			_, err := out.Write(report.Schema)
			return err
		}
	},
}
