// Package file reads files that may be large, or never end: a FIFO without a writer, a lost
// mount. The system can't cancel such a read, so Reading goes on without it.
package file

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// MaxBytes is the max size of a file of settings, keys or certificates. Real ones have some
// KiB.
const MaxBytes = 1 << 20

// Patience is how long a start waits for a file.
const Patience = 5 * time.Second

// Read reads a whole file. A file above MaxBytes is an error.
func Read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err == nil && len(data) > MaxBytes {
		err = fmt.Errorf("%s: is longer than %d bytes", path, MaxBytes)
	}
	return data, err
}

// ReadSoon is Read, with an error once Patience has passed.
func ReadSoon(path string) (data []byte, err error) {
	var reading Reading
	var read []byte
	var readErr error
	if !reading.Do(Patience, func() { read, readErr = Read(path) }) {
		return nil, fmt.Errorf("%s: could not be read within %v", path, Patience)
	}
	return read, readErr
}

// Reading runs reads beside their callers, one at a time. The zero value is ready to use. It
// is safe for concurrent use.
type Reading struct{ busy sync.Mutex }

// Do runs read on a goroutine of its own, and waits for it, but not longer than patience. It
// returns false if read has not ended by then, or was not begun because the one before has
// not ended. Only after true may the caller use what read has written.
func (r *Reading) Do(patience time.Duration, read func()) (ended bool) {
	if !r.busy.TryLock() {
		return false
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer r.busy.Unlock()
		read()
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}
