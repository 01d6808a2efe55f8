package file

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func TestAFileAboveTheLimitIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for size, fits := range map[int]bool{0: true, MaxBytes: true, MaxBytes + 1: false} {
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		data, err := ReadSoon(path)
		if (err == nil) != fits || fits && len(data) != size {
			t.Errorf("%d bytes: read %d, %v", size, len(data), err)
		}
	}
	if _, err := ReadSoon("/dev/zero"); err == nil || !strings.Contains(err.Error(), "is longer than") {
		t.Error(err)
	}
	if _, err := ReadSoon(path + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestAReadThatHangsHoldsUpNobodyAndIsNotBegunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Reading
		var begun atomic.Int32
		hang := make(chan struct{})
		read := func() { begun.Add(1); <-hang }
		for range 3 {
			if r.Do(Patience, read) {
				t.Error("ended")
			}
		}
		if n := begun.Load(); n != 1 {
			t.Errorf("begun %d times", n)
		}
		close(hang)
		synctest.Wait()
		if !r.Do(Patience, read) {
			t.Error("not read again")
		}
	})
}
