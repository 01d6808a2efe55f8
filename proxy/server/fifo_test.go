//go:build unix

package server

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	pb "paceline/proto/paceline/v1"
)

// hang replaces a file by a FIFO that nobody writes to. end ends the reading of it.
func hang(t *testing.T, path string) (end func()) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return func() {
		w, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		_ = w.Close()
	}
}

func TestAKeysFileThatHangsHoldsUpNoRequest(t *testing.T) {
	r, _, path := keyed(t, "- {name: agents, key: "+agentKey+"}\n", nil)
	end := hang(t, path)
	defer end()
	await(t, "it is noticed", func() bool {
		if _, err := r.prefill.Prefill(r.withKey(agentKey), &pb.PrefillRequest{Text: "a"}); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(r.log.String(), "the reading hangs: the previous keys stay")
	})
	if _, err := r.prefill.Prefill(r.withKey(agentKey), &pb.PrefillRequest{Text: "a"}); err != nil {
		t.Error(err)
	}
	r.stop()
	<-r.ended
	if r.err != nil {
		t.Error(r.err)
	}
}

func TestCertificatesThatHangHoldUpNoConnection(t *testing.T) {
	dir, a := t.TempDir(), newAuthority(t)
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	a.issue("first", cert, key)
	c, err := openCertificates(cert, key, "", DefaultConfig().logger())
	if err != nil {
		t.Fatal(err)
	}
	defer hang(t, cert)()
	await(t, "it hangs", func() bool {
		config, err := c.tls("h2").GetConfigForClient(nil)
		if err != nil || len(config.Certificates) != 1 {
			t.Fatal(config, err)
		}
		return !c.reading.Do(patience, func() {})
	})
}
