package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"paceline/loadgen/cli"
	"paceline/loadgen/journal"
	"paceline/loadgen/report"
	"paceline/loadgen/report/figures"
	"paceline/loadgen/report/render"
)

const resultsFile = "results.json"

// makeOutput makes the directory of a report. If dir is empty, it makes a new one in results, named
// after the time. It refuses a directory that holds a sweep or a report.
func makeOutput(dir string) (string, error) {
	switch {
	case dir == "":
		dir = filepath.Join("results", time.Now().Format("20060102-150405"))
	case unfinished(dir):
		return "", fmt.Errorf("-out: %s holds a sweep that was cut short: continue it with -resume %s, or name another directory", dir, dir)
	}
	if _, err := os.Stat(filepath.Join(dir, resultsFile)); err == nil {
		return "", fmt.Errorf("-out: %s holds a finished report: add repeats to it with -resume %s, or name another directory", dir, dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("-out: %w", err)
	}
	return dir, nil
}

// unfinished reports whether a directory holds a sweep that was cut short: a journal without a
// report of all its runs.
func unfinished(dir string) bool {
	held, err := journal.Read(dir)
	if err != nil || len(held.Runs) == 0 {
		return false
	}
	r, err := readResults(dir)
	return err != nil || r.Partial || r.CreatedAt.Before(held.At) || len(r.Resumed) < len(held.Resumed)
}

// conclude writes the report and prints its summary. It returns an error if requests failed or
// were dropped, or if token counts can't be true, so that the exit status shows it.
func conclude(r report.Report, lang *render.Language, out string, log *slog.Logger) error {
	r.Files = []string{"report.md", "report.html", resultsFile}
	for _, name := range []string{journal.RunsFile, journal.RequestsFile, "run.log"} {
		if _, err := os.Stat(filepath.Join(out, name)); err == nil {
			r.Files = append(r.Files, name)
		}
	}
	var errs []error
	errs = append(errs, // the data first: everything else can be made from it
		writeFile(filepath.Join(out, resultsFile), func(f *os.File) error { return report.WriteJSON(f, r) }),
		writePages(os.Stdout, figures.Of(r), lang, out))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	fmt.Printf("\n%s\n", render.Made(filepath.Join(out, "report.html"), lang))
	failed, dropped, disturbed, impossible := 0, 0, 0, []string{}
	for _, run := range r.Runs {
		if run.Disturbed() {
			disturbed++
		}
		if why := run.Impossible(); why != "" {
			impossible = append(impossible, why)
		}
		failed += run.Failed
		dropped += run.Dropped()
	}
	log.Info("report written", "runs", len(r.Runs), "failed_requests", failed, "partial", r.Partial)
	switch {
	case len(impossible) > 0:
		return fmt.Errorf("%w: the server's token counts in %d of %d runs, the first: %s",
			errImpossible, len(impossible), len(r.Runs), impossible[0])
	case r.Config.Objective != nil: // requests may fail at a rate that is too high
		found := func(s figures.Searched) bool { return s.Best() != nil }
		if !r.Partial && !slices.ContainsFunc(figures.Of(r).Searches, found) {
			return fmt.Errorf("%w %s at any rate", errNotKept, r.Config.Objective)
		}
	case failed > 0 && !r.Partial:
		return fmt.Errorf("%d requests failed: the report counts them, by cause", failed)
	case dropped > 0 && !r.Partial:
		return fmt.Errorf("%d requests were dropped, because -most-outstanding conversations were under way when they were due", dropped)
	case disturbed > 0 && !r.Partial:
		return fmt.Errorf("%w in %d of %d runs, also when they were repeated", errDisturbed, disturbed, len(r.Runs))
	}
	return nil
}

// errNotKept ends a search that found no rate.
var errNotKept = errors.New("no setting keeps")

// errDisturbed ends a sweep whose figures are partly loadgen's own.
var errDisturbed = errors.New("disturbed, no conclusion: the machine kept loadgen from its own work")

// writePages writes report.md and report.html, and the summary to w.
func writePages(w io.Writer, f figures.Figures, lang *render.Language, out string) error {
	return errors.Join(
		writeFile(filepath.Join(out, "report.md"), func(file *os.File) error { return render.WriteMarkdown(file, f, lang) }),
		writeFile(filepath.Join(out, "report.html"), func(file *os.File) error { return render.WriteHTML(file, f, lang) }),
		render.WriteTerminal(w, f, lang),
	)
}

// writeFile writes a file, and makes its directory.
func writeFile(path string, write func(*os.File) error) error {
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err != nil {
		return fmt.Errorf("-out: %w", err)
	}
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

// compareCommand sets two reports side by side.
var compareCommand = subcommand{
	args: "two reports", maxArgs: 2,
	define: func(*cli.FlagSet) runner {
		return func(_ context.Context, args []string, _ io.Reader, out io.Writer) error {
			before, err := readResults(args[0])
			if err != nil {
				return err
			}
			after, err := readResults(args[1])
			if err != nil {
				return err
			}
			return render.WriteComparison(out, figures.Compare(before, after))
		}
	},
}

// reportCommand writes the pages of a report again.
var reportCommand = subcommand{
	args: "the directory of one report", maxArgs: 1,
	define: func(f *cli.FlagSet) runner {
		var language, to string
		cli.Define(f, &language, render.English.Code, "lang", "`language` of the report: en or zh")
		cli.Define(f, &to, "", "out", "`directory` to write to (default: where the report is)")
		return func(_ context.Context, args []string, _ io.Reader, out io.Writer) error {
			lang, err := render.Named(language)
			if err != nil {
				return fmt.Errorf("-lang: %w", err)
			}
			from := args[0]
			r, err := readResults(from)
			if err != nil {
				return err
			}
			if info, err := os.Stat(from); to == "" && err == nil && !info.IsDir() {
				from = filepath.Dir(from)
			}
			to = cmp.Or(to, from)
			err = writePages(out, figures.Of(r), lang, to)
			if err == nil {
				_, err = fmt.Fprintf(out, "\n%s\n", render.Made(filepath.Join(to, "report.html"), lang))
			}
			return failed(err)
		}
	},
}

// schemaCommand prints the JSON Schema of results.json.
var schemaCommand = subcommand{
	define: func(*cli.FlagSet) runner {
		return func(_ context.Context, _ []string, _ io.Reader, out io.Writer) error {
			_, err := out.Write(report.Schema)
			return failed(err)
		}
	},
}
