package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"paceline/loadgen/report"
	"paceline/loadgen/sweep"
)

const (
	journalFile  = "runs.jsonl"
	requestsFile = "requests.jsonl"
)

// record is where a sweep writes what it measures, run by run, so that a sweep that is
// cut short loses no more than the cell it was in.
type record struct {
	journal  *sweep.Journal
	requests *os.File
	held     sweep.Journaled // of the sweep that this one goes on with
	kept     []report.Run
}

// openRecord begins one in out, or goes on with the one of -resume, which must be of the
// same sweep.
func openRecord(o options, out string, plan sweep.Plan, b sweep.Beginning) (*record, error) {
	if o.resume == "" {
		journal, err := sweep.CreateJournal(filepath.Join(out, journalFile), b)
		if err != nil {
			return nil, inputError{fmt.Errorf("-out: %w", err)}
		}
		requests, err := os.Create(filepath.Join(out, requestsFile))
		if err != nil {
			return nil, inputError{errors.Join(fmt.Errorf("-out: %w", err), journal.Close())}
		}
		return &record{journal: journal, requests: requests, held: sweep.Journaled{Beginning: b}}, nil
	}
	ended := !unfinished(out)
	journal, held, err := sweep.ResumeJournal(filepath.Join(out, journalFile), time.Now(), func(held sweep.Journaled) (*sweep.Change, error) {
		c := &sweep.Change{Flags: moreRepeats(held.Facts, o.repeats)}
		if d := sweep.Differences(held.Facts, b.Facts, c.Flags...); len(d) > 0 {
			return nil, fmt.Errorf("another sweep than this: %s", sweep.Told(d))
		}
		if ended { // and has put back what it found: the proxies may be set otherwise since
			c.Before = b.Before
		}
		return c, nil
	})
	if err != nil {
		return nil, inputError{fmt.Errorf("-resume: %w", err)}
	}
	if held.Before == nil {
		held.Before = b.Before
	}
	for addr, was := range b.Before { // a proxy that has moved since
		if _, known := held.Before[addr]; !known {
			held.Before[addr] = was
		}
	}
	r := &record{journal: journal, held: held, kept: plan.WholeCells(held.Runs)}
	if r.requests, err = keepRequests(filepath.Join(out, requestsFile), r.kept); err != nil {
		return nil, inputError{errors.Join(fmt.Errorf("-resume: %w", err), journal.Close())}
	}
	return r, nil
}

// moreRepeats is the flag by which a sweep goes on with more repeats than it had, if it
// does: those that it has stay as they are, because the order of each is drawn in turn.
// With fewer it would lose some, and is another sweep.
func moreRepeats(held []sweep.Fact, repeats int) []sweep.Fact {
	for _, f := range held {
		if had, err := strconv.Atoi(f.Value); f.Name == "-repeats" && err == nil && repeats > had {
			return []sweep.Fact{{Name: f.Name, Value: strconv.Itoa(repeats)}}
		}
	}
	return nil
}

// measured writes a run and its requests to the disk.
func (r *record) measured(run report.Run, requests []report.Request) error {
	if err := report.WriteRequests(r.requests, requests); err != nil {
		return err
	}
	if err := r.requests.Sync(); err != nil {
		return fmt.Errorf("%s: %w", requestsFile, err)
	}
	return r.journal.Measured(run)
}

// Close closes the files.
func (r *record) Close() error { return errors.Join(r.journal.Close(), r.requests.Close()) }

// keepRequests leaves in a file of requests those of the given runs alone, and opens it
// for more: the others are measured again. A missing file has none.
func keepRequests(path string, runs []report.Run) (*os.File, error) {
	type key struct {
		setting, phase string
		repeat         int
	}
	keep := map[key]bool{}
	for _, r := range runs {
		keep[key{r.Setting, r.Phase, r.Repeat}] = true
	}
	kept, err := os.CreateTemp(filepath.Dir(path), requestsFile+".")
	if err != nil {
		return nil, err
	}
	defer os.Remove(kept.Name()) //nolint:errcheck // it is there only after an error
	copyKept := func() error {
		f, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // only read
		out := bufio.NewWriter(kept)
		for lines := bufio.NewReader(f); ; {
			line, err := lines.ReadBytes('\n')
			if errors.Is(err, io.EOF) { // what is left of a line was being written
				return out.Flush()
			}
			if err != nil {
				return err
			}
			var q report.Request
			if json.Unmarshal(line, &q) != nil || !keep[key{q.Setting, q.Phase, q.Repeat}] {
				continue
			}
			if _, err := out.Write(line); err != nil {
				return err
			}
		}
	}
	err = copyKept()
	if err == nil {
		err = errors.Join(kept.Chmod(0o644), kept.Sync(), os.Rename(kept.Name(), path))
	}
	if err != nil {
		return nil, errors.Join(err, kept.Close())
	}
	return kept, nil
}

// resumedText says on the terminal what is not measured again.
func (r *record) resumedText() string {
	if len(r.held.Resumed) == 0 {
		return ""
	}
	if len(r.kept) == 0 {
		return "resumed: nothing was measured to its end before\n"
	}
	settings := map[string]bool{}
	for _, run := range r.kept {
		settings[run.Setting] = true
	}
	var names []string
	for _, run := range r.kept {
		if settings[run.Setting] {
			names = append(names, run.Setting)
			delete(settings, run.Setting)
		}
	}
	return fmt.Sprintf("resumed: %d runs of %s are kept (%s)\n", len(r.kept), r.held.At.Local().Format("2006-01-02 15:04:05"), strings.Join(names, "; "))
}
