package sweep

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"paceline/loadgen/report"
	"paceline/loadgen/target"
)

// Beginning is the first line of a journal: what sweep it is of.
type Beginning struct {
	At    time.Time `json:"at"`
	Args  []string  `json:"args"`  // the command line's flags
	Facts []Fact    `json:"facts"` // what a sweep that goes on with it must share

	// Before is what the proxies were set to, by their admin addresses, to be put back
	// also by a sweep that goes on where another was killed.
	Before map[string]target.Settings `json:"before,omitempty"`
}

// Change is what is otherwise than at the beginning from a resumption on.
type Change struct {
	Flags  []Fact                     `json:"flags,omitempty"`  // that have another value
	Before map[string]target.Settings `json:"before,omitempty"` // nil: the one that there was
}

func (b *Beginning) change(c Change) {
	for _, to := range c.Flags {
		b.Args = append(b.Args, to.Name, to.Value)
		for i := range b.Facts {
			if b.Facts[i].Name == to.Name {
				b.Facts[i].Value = to.Value
			}
		}
	}
	if c.Before != nil {
		b.Before = c.Before
	}
}

// entry is a line of a journal; one of its fields is set.
type entry struct {
	Sweep   *Beginning  `json:"sweep,omitempty"`
	Resumed *time.Time  `json:"resumed_at,omitempty"`
	Changed *Change     `json:"changed,omitempty"` // beside Resumed, where something is
	Run     *report.Run `json:"run,omitempty"`
}

// Journal is the file runs.jsonl: a line for the sweep, one for each run once it is
// measured, and one for each time that the sweep went on. Each line is on the disk when
// its method returns. It is not safe for concurrent use.
type Journal struct{ f *os.File }

// Journaled is what a journal holds.
type Journaled struct {
	Beginning
	Resumed []time.Time
	Runs    []report.Run // in the order in which they were measured
}

func (j *Journaled) resume(at time.Time, changed *Change) {
	j.Resumed = append(j.Resumed, at)
	if changed != nil {
		j.change(*changed)
	}
}

// CreateJournal begins a journal; a file of before is overwritten.
func CreateJournal(path string, b Beginning) (*Journal, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	j := &Journal{f}
	if err := j.write(entry{Sweep: &b}); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return j, nil
}

// ResumeJournal goes on with a journal, whose last line may have been cut by a crash:
// it is dropped. check sees what it holds before anything is written, and returns what is
// otherwise from now on; nil: nothing.
func ResumeJournal(path string, now time.Time, check func(Journaled) (*Change, error)) (*Journal, Journaled, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, Journaled{}, missing(path, err)
	}
	j := &Journal{f}
	held, good, err := readJournal(f)
	var changed *Change
	if err == nil {
		changed, err = check(held)
	}
	if err == nil {
		err = f.Truncate(good)
	}
	if err == nil {
		_, err = f.Seek(good, io.SeekStart)
	}
	if err == nil {
		held.resume(now, changed)
		err = j.write(entry{Resumed: &now, Changed: changed})
	}
	if err != nil {
		return nil, Journaled{}, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return j, held, nil
}

// ReadJournal reads a journal.
func ReadJournal(path string) (Journaled, error) {
	f, err := os.Open(path)
	if err != nil {
		return Journaled{}, missing(path, err)
	}
	defer f.Close() //nolint:errcheck // only read
	held, _, err := readJournal(f)
	if err != nil {
		return held, fmt.Errorf("%s: %w", path, err)
	}
	return held, nil
}

func missing(path string, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("there is no %s, which a sweep writes as it goes", path)
	}
	return err
}

// Measured adds a run.
func (j *Journal) Measured(run report.Run) error { return j.write(entry{Run: &run}) }

// Close closes the file.
func (j *Journal) Close() error { return j.f.Close() }

func (j *Journal) write(e entry) error {
	line, err := json.Marshal(e)
	if err == nil {
		_, err = j.f.Write(append(line, '\n'))
	}
	if err == nil {
		err = j.f.Sync()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", j.f.Name(), err)
	}
	return nil
}

// readJournal reads whole lines; good is where they end. Only a last line without an end
// may be no JSON.
func readJournal(r io.Reader) (held Journaled, good int64, err error) {
	lines := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break // and what is left of a line was being written
		}
		if err != nil {
			return held, good, err
		}
		var e entry
		if err := json.Unmarshal(bytes.TrimSpace(line), &e); err != nil {
			return held, good, fmt.Errorf("line %d: %w", n, err)
		}
		switch {
		case (e.Sweep != nil) != (n == 1):
			return held, good, fmt.Errorf("line %d: the first line, and no other, must tell of the sweep", n)
		case e.Sweep != nil:
			held.Beginning = *e.Sweep
		case e.Resumed != nil:
			held.resume(*e.Resumed, e.Changed)
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
