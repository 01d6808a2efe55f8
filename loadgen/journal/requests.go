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

// keepRequests reduces a file of requests to those of the given runs, because the others are
// measured again, and opens it for more. A missing file has none.
func keepRequests(path string, runs []report.Run) (*os.File, error) {
	kept, err := os.CreateTemp(filepath.Dir(path), RequestsFile+".")
	if err != nil {
		return nil, err
	}
	defer os.Remove(kept.Name()) //nolint:errcheck // it is there only after an error
	err = copyRequests(kept, path, runs)
	if err == nil {
		err = errors.Join(kept.Chmod(0o644), kept.Sync(), os.Rename(kept.Name(), path))
	}
	if err != nil {
		return nil, errors.Join(err, kept.Close())
	}
	return kept, nil
}

func copyRequests(to io.Writer, path string, runs []report.Run) error {
	type key struct {
		setting, phase string
		repeat         int
	}
	keep := map[key]bool{}
	for _, r := range runs {
		keep[key{r.Setting, r.Phase, r.Repeat}] = true
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	out := bufio.NewWriter(to)
	for line, err := range wholeLines(f) {
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
	return out.Flush()
}

// wholeLines yields the lines of r with their ends. It leaves out the rest of a line that was
// being written when the process was killed.
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
