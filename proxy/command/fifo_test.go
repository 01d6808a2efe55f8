//go:build unix

package command

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestSIGTERMEndsAStartWhoseFilesHang(t *testing.T) {
	for _, name := range []string{"config", "keys"} {
		path := filepath.Join(t.TempDir(), name)
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		p := startProcess(t, "http://127.0.0.1:1", "-"+name, path)
		p.signals <- syscall.SIGHUP
		p.signals <- syscall.SIGTERM
		w, err := os.OpenFile(path, os.O_WRONLY, 0) // once it is being read
		if err != nil {
			t.Fatal(err)
		}
		if code := p.wait(); code != exitOK {
			t.Errorf("%s: %d", name, code)
		}
		_, _ = w.WriteString("]") // no proxy starts once it is read
		_ = w.Close()
	}
}

// The reading of a file that hangs kept SIGTERM from being seen.
func TestSIGTERMEndsAProxyWhoseConfigurationHangs(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	path := writeConfig(t, "batch_size: 2\n")
	p := startProcess(t, s.URL, "-config", path)
	p.line("listening")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	p.signals <- syscall.SIGHUP
	p.signals <- syscall.SIGHUP
	p.signals <- syscall.SIGTERM
	if code := p.wait(); code != exitOK {
		t.Error(code)
	}
	w, err := os.OpenFile(path, os.O_RDWR, 0) // ends the reading
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil { // a reading that begins only now ends, too
		t.Error(err)
	}
	_ = w.Close()
}
