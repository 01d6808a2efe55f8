package journal

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"

	"paceline/loadgen/report"
)

// ReadRequests reads the requests.jsonl of a directory; a missing one has none.
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

// keepRequests reduces the requests.jsonl of a directory to the requests of the given runs,
// because the others are measured again, and opens it for more.
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
	defer os.Remove(kept.Name()) //nolint:errcheck // it is there only after an error
	if err = report.WriteRequests(kept, all); err == nil {
		err = errors.Join(kept.Chmod(0o644), kept.Sync(), os.Rename(kept.Name(), filepath.Join(dir, RequestsFile)))
	}
	if err != nil {
		return nil, errors.Join(err, kept.Close())
	}
	return kept, nil
}

// wholeLines yields the lines of r. It leaves out the rest of a line that was being written when
// the process was killed.
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
