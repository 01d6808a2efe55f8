package server

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"paceline/proxy/file"
)

// followed are files that are read again when they change. A read that hangs holds up
// neither requests nor the end of the process: what was read before stays in force. It is
// safe for concurrent use.
type followed struct {
	paths []string                             // "" for a file that is not given
	read  func() (changes []string, err error) // reads all files and puts them in force; called once at a time
	stays string                               // what stays in force if read fails, for the log
	log   *slog.Logger

	reading  file.Reading
	versions []fileVersion // at the last read, which alone uses them

	mu     sync.Mutex
	looked time.Time // guarded by mu
}

// fileVersion detects changes of a file. It is zero for one that can't be found.
type fileVersion struct {
	modified time.Time
	size     int64
}

const (
	lookAgain    = time.Second            // max time until a change is noticed, if there are requests
	lookPatience = 100 * time.Millisecond // for the request that notices it; far more than a disk takes
)

// open reads the files at the start.
func (f *followed) open() error {
	var err error
	f.due(time.Now())
	if !f.reading.Do(file.Patience, func() {
		f.versions = f.versionsNow()
		_, err = f.read()
	}) {
		return fmt.Errorf("%s: could not be read within %v", strings.Join(f.paths, " "), file.Patience)
	}
	return err
}

// look reads the files again if they have changed.
func (f *followed) look() {
	if f.due(time.Now()) && !f.reading.Do(lookPatience, f.readIfChanged) {
		f.log.Warn("files can't be read again, because the reading hangs: "+f.stays, "files", f.paths)
	}
}

// due reports whether it is time to look, and counts that as a look.
func (f *followed) due(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.looked) < lookAgain {
		return false
	}
	f.looked = now
	return true
}

func (f *followed) readIfChanged() {
	v := f.versionsNow()
	if slices.Equal(v, f.versions) {
		return
	}
	f.versions = v // a failure is logged once
	changes, err := f.read()
	if err != nil {
		f.log.Error("files can't be read again: "+f.stays, "error", err)
		return
	}
	f.log.Info("files read again", "files", f.paths, "changed", changes)
}

func (f *followed) versionsNow() []fileVersion {
	versions := make([]fileVersion, len(f.paths))
	for i, path := range f.paths {
		if info, err := os.Stat(path); err == nil {
			versions[i] = fileVersion{info.ModTime(), info.Size()}
		}
	}
	return versions
}
