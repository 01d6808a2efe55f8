package command

import (
	"bytes"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestWrongFlagsOfDrainEndWithOneLineAndCode2(t *testing.T) {
	for _, args := range []string{
		"-admin localhost", "-timeout soon", "-timeout 0s", "-key-file /none/such", "extra", "-dry",
	} {
		var stdout, stderr bytes.Buffer
		code := run(append([]string{"drain"}, strings.Fields(args)...), nil, &stdout, &stderr, nil)
		name, _, _ := strings.Cut(args, " ")
		if message := stderr.String(); code != exitBadInput || strings.Count(message, "\n") != 1 || !strings.Contains(message, name) ||
			stdout.Len() > 0 {
			t.Errorf("%s: %d %q", args, code, message)
		}
	}
}

func TestDrainHelps(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run([]string{"drain", "-h"}, nil, &stdout, &stderr, nil); code != exitOK || !strings.Contains(stdout.String(), "-timeout") ||
		stderr.Len() > 0 {
		t.Errorf("%d %s%s", code, &stdout, &stderr)
	}
}

func TestDrainFailsWhereNoProxyIs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	var stdout, stderr bytes.Buffer
	if code := run([]string{"drain", "-admin", addr}, nil, &stdout, &stderr, nil); code != exitFailed ||
		!strings.Contains(stderr.String(), addr) {
		t.Errorf("%d %s", code, &stderr)
	}
}

func TestASignalEndsTheWaitForADrain(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	signals := make(chan os.Signal, 1)
	signals <- syscall.SIGTERM
	var stdout, stderr bytes.Buffer
	if code := run([]string{"drain", "-admin", l.Addr().String()}, nil, &stdout, &stderr, signals); code != exitFailed ||
		stderr.Len() == 0 {
		t.Errorf("%d %s", code, &stderr)
	}
}

// A proxy whose admin listener is reached from beyond the machine asks for a key.
func TestDrainBringsTheKeyThatAdminAsksFor(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	keys := file("keys.yaml", "- {name: ops, key: 0123456789abcdef-ops, admin: true}\n- {name: caller, key: 0123456789abcdef-caller}\n")
	p := startProcess(t, startSlowSGLang(t).url, "-admin", "0.0.0.0:0", "-keys", keys)
	listening := p.line("listening")
	p.line("ready")
	_, port, err := net.SplitHostPort(listening["admin"].(string))
	if err != nil {
		t.Fatal(err)
	}
	admin := "127.0.0.1:" + port
	for _, c := range []struct {
		args, environ []string
		want          int
	}{
		{nil, nil, exitFailed},
		{[]string{"-key-file", file("caller", "0123456789abcdef-caller\n")}, nil, exitFailed},
		{[]string{"-key-file", file("ops", "0123456789abcdef-ops\n")}, nil, exitOK},
		{nil, []string{"PACELINE_ADMIN_KEY=0123456789abcdef-caller"}, exitFailed},
		{nil, []string{"PACELINE_ADMIN_KEY=0123456789abcdef-ops"}, exitOK},
	} {
		var stdout, stderr bytes.Buffer
		code := run(append([]string{"drain", "-admin", admin}, c.args...), c.environ, &stdout, &stderr, nil)
		if code != c.want || strings.Contains(stderr.String(), "0123456789abcdef") {
			t.Errorf("%q: %d %s", c.args, code, &stderr)
		}
	}
	if status := get(t, "http://"+listening["http"].(string)+"/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("after the drain /readyz answers %d", status)
	}
	p.signals <- syscall.SIGTERM
	if code := p.wait(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func get(t *testing.T, url string) int {
	t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}
