// Package journal writes what a sweep measures to disk, run by run. A process that is killed loses
// only the cell that it was measuring.
//
// A journal is two files in the directory of the report. runs.jsonl has a line for the sweep, one
// for each run, and one for each time that the sweep was resumed. requests.jsonl has a line for
// each request. Start with Create and Resume. A sweep can be resumed only if its facts (facts.go)
// are the same.
package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"paceline/loadgen/report"
	"paceline/loadgen/sweep"
	"paceline/loadgen/target"
)

// The files of a journal, in the directory of the report.
const (
	RunsFile     = "runs.jsonl"
	RequestsFile = "requests.jsonl"
)

// Beginning identifies the sweep of a journal.
type Beginning struct {
	At    time.Time `json:"at"`
	Args  []string  `json:"args"`  // the flags of the command line
	Facts []Fact    `json:"facts"` // must be equal when the sweep is resumed

	// Before holds the settings of the proxies before the sweep, by admin address. The sweep
	// restores them, even if it was killed and resumed.
	Before map[string]target.Settings `json:"before,omitempty"`
}

// entry is a line of runs.jsonl.
type entry struct {
	Sweep   *Beginning  `json:"sweep,omitempty"`      // on the first line
	Resumed *time.Time  `json:"resumed_at,omitempty"` // the sweep was resumed
	Changed *change     `json:"changed,omitempty"`    // beside Resumed
	Run     *report.Run `json:"run,omitempty"`
}

// change is what a resumption changed.
type change struct {
	Flags  []Fact                     `json:"flags,omitempty"`  // with their new values
	Before map[string]target.Settings `json:"before,omitempty"` // nil: unchanged
}

// Contents is the content of a journal.
type Contents struct {
	Beginning
	Resumed []time.Time
	Runs    []report.Run // in the order in which they were measured
}

func (c *Contents) resume(at time.Time, to change) {
	c.Resumed = append(c.Resumed, at)
	for _, flag := range to.Flags {
		c.Args = append(c.Args, flag.Name, flag.Value)
		for i := range c.Facts {
			if c.Facts[i].Name == flag.Name {
				c.Facts[i].Value = flag.Value
			}
		}
	}
	if to.Before != nil {
		c.Before = to.Before
	}
}

// Journal records the runs of a sweep. It is not safe for concurrent use.
type Journal struct {
	Contents              // as of when it was opened
	Kept     []report.Run // runs of whole cells, which are not measured again

	runs, requests *os.File
}

// Create begins a journal. It overwrites the files of an earlier one.
func Create(dir string, b Beginning) (*Journal, error) {
	runs, err := os.Create(filepath.Join(dir, RunsFile))
	if err != nil {
		return nil, err
	}
	j := &Journal{Contents: Contents{Beginning: b}, runs: runs}
	if err = j.write(entry{Sweep: &b}); err == nil {
		j.requests, err = os.Create(filepath.Join(dir, RequestsFile))
	}
	if err != nil {
		return nil, errors.Join(err, runs.Close())
	}
	return j, nil
}

// Resume opens the journal of a sweep to continue as plan and b describe. It refuses the journal of
// another sweep and leaves it unchanged; only the repeats may grow. It drops a last line that a crash
// cut, and the requests of runs that are not kept. ended says that the sweep had restored the
// settings of the proxies, which may have changed since.
func Resume(dir string, plan sweep.Plan, b Beginning, ended bool) (*Journal, error) {
	path := filepath.Join(dir, RunsFile)
	runs, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, missing(path, err)
	}
	j := &Journal{runs: runs}
	if err := j.resume(plan, b, ended); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), runs.Close())
	}
	before := maps.Clone(b.Before) // a proxy at a new address keeps its current settings
	maps.Copy(before, j.Before)
	j.Before = before
	j.Kept = plan.WholeCells(j.Runs)
	if j.requests, err = keepRequests(dir, j.Kept); err != nil {
		return nil, errors.Join(err, runs.Close())
	}
	return j, nil
}

func (j *Journal) resume(plan sweep.Plan, b Beginning, ended bool) error {
	held, good, err := read(j.runs)
	if err != nil {
		return err
	}
	var to change
	for _, f := range held.Facts { // more repeats leave earlier ones valid: their orders are drawn in turn
		if had, err := strconv.Atoi(f.Value); f.Name == "-repeats" && err == nil && plan.Repeats > had {
			to.Flags = []Fact{{Name: f.Name, Value: strconv.Itoa(plan.Repeats)}}
		}
	}
	if d := differences(held.Facts, b.Facts, to.Flags...); len(d) > 0 {
		return fmt.Errorf("not the same sweep: %s", summary(d))
	}
	if ended {
		to.Before = b.Before
	}
	if err := j.runs.Truncate(good); err != nil {
		return err
	}
	if _, err := j.runs.Seek(good, io.SeekStart); err != nil {
		return err
	}
	held.resume(b.At, to)
	j.Contents = held
	return j.write(entry{Resumed: &b.At, Changed: &to})
}

// Measured writes a run and its requests. They are on disk when it returns.
func (j *Journal) Measured(run report.Run, requests []report.Request) error {
	if err := report.WriteRequests(j.requests, requests); err != nil {
		return err
	}
	if err := j.requests.Sync(); err != nil {
		return fmt.Errorf("%s: %w", RequestsFile, err)
	}
	return j.write(entry{Run: &run})
}

// Close closes the files.
func (j *Journal) Close() error { return errors.Join(j.runs.Close(), j.requests.Close()) }

func (j *Journal) write(e entry) error {
	line, err := json.Marshal(e)
	if err == nil {
		_, err = j.runs.Write(append(line, '\n'))
	}
	if err == nil {
		err = j.runs.Sync()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", j.runs.Name(), err)
	}
	return nil
}

// Read reads the journal in a directory.
func Read(dir string) (Contents, error) {
	path := filepath.Join(dir, RunsFile)
	f, err := os.Open(path)
	if err != nil {
		return Contents{}, missing(path, err)
	}
	defer f.Close() //nolint:errcheck // only read
	held, _, err := read(f)
	if err != nil {
		return held, fmt.Errorf("%s: %w", path, err)
	}
	return held, nil
}

func missing(path string, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("there is no %s, the file that a sweep writes while it runs", path)
	}
	return err
}

// read reads whole lines; good is the offset where they end. Only a last line without a line end may
// be something other than JSON.
func read(r io.Reader) (held Contents, good int64, err error) {
	n := 0
	for line, err := range wholeLines(r) {
		if err != nil {
			return held, good, err
		}
		n++
		var e entry
		if err := json.Unmarshal(bytes.TrimSpace(line), &e); err != nil {
			return held, good, fmt.Errorf("line %d: %w", n, err)
		}
		switch {
		case (e.Sweep != nil) != (n == 1):
			return held, good, fmt.Errorf("line %d: the first line, and no other, must describe the sweep", n)
		case e.Sweep != nil:
			held.Beginning = *e.Sweep
		case e.Resumed != nil && e.Changed != nil:
			held.resume(*e.Resumed, *e.Changed)
		case e.Resumed != nil:
			held.resume(*e.Resumed, change{})
		case e.Run != nil:
			held.Runs = append(held.Runs, *e.Run)
		}
		good += int64(len(line))
	}
	if good == 0 {
		return held, good, errors.New("holds no sweep")
	}
	return held, good, nil
}

// ReadRequests reads the requests.jsonl of a directory. A missing file holds no requests.
func ReadRequests(dir string) (all []report.Request, err error) {
	path := filepath.Join(dir, RequestsFile)
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	for line, err := range wholeLines(f) {
		var q report.Request
		if err == nil {
			err = json.Unmarshal(line, &q)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: request %d: %w", path, len(all)+1, err)
		}
		all = append(all, q)
	}
	return all, nil
}

// keepRequests reduces the requests.jsonl of a directory to the requests of the given runs and opens
// it for more. All other runs are measured again.
func keepRequests(dir string, runs []report.Run) (*os.File, error) {
	all, err := ReadRequests(dir)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(q report.Request) bool {
		return !slices.ContainsFunc(runs, func(r report.Run) bool {
			return r.Setting == q.Setting && r.Phase == q.Phase && r.Repeat == q.Repeat
		})
	})
	kept, err := os.CreateTemp(dir, RequestsFile+".")
	if err != nil {
		return nil, err
	}
	defer os.Remove(kept.Name()) //nolint:errcheck // exists only after an error
	if err = report.WriteRequests(kept, all); err == nil {
		err = errors.Join(kept.Chmod(0o644), kept.Sync(), os.Rename(kept.Name(), filepath.Join(dir, RequestsFile)))
	}
	if err != nil {
		return nil, errors.Join(err, kept.Close())
	}
	return kept, nil
}

// wholeLines yields the lines of r. It leaves out a partial line at the end, which was being written
// when the process was killed.
func wholeLines(r io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for lines := bufio.NewReader(r); ; {
			line, err := lines.ReadBytes('\n')
			if errors.Is(err, io.EOF) || !yield(line, err) || err != nil {
				return
			}
		}
	}
}
