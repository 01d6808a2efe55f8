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

func TestSetChangesARunningProxyAndStatusShowsIt(t *testing.T) {
	p := startProcess(t, startSlowSGLang(t).url)
	admin := p.line("listening")["admin"].(string)
	p.line("ready")
	call := func(name string, args ...string) (int, string) {
		var out bytes.Buffer
		code := run(append([]string{name, "-admin", admin}, args...), nil, &out, &out, nil)
		return code, out.String()
	}
	if code, out := call("set", "batch_size=7", "max_wait=5ms", "share=off"); code != exitOK ||
		out != "  batch_size=7\n  max_wait=5ms\n  share=off\n" {
		t.Errorf("%d %s", code, out)
	}
	if code, out := call("set", "batch_size=9", "max_in_flight=0"); code != exitFailed ||
		!strings.Contains(out, "max_in_flight: must be from 1") {
		t.Errorf("%d %s", code, out)
	}
	code, out := call("status")
	for _, want := range []string{"ready\n", "0 batches", "  mode=fixed\n", "  batch_size=7\n", "  max_wait=5ms\n", "share=off\n"} {
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("%d, no %q in %s", code, want, out)
		}
	}
	for args, want := range map[string]string{
		"":                          "names no setting",
		"batch_size":                "must be setting=value",
		"batch_sise=8":              "batch_sise: not a live setting: is batch_size meant?",
		"foo=5":                     "foo: not a live setting: must be one of mode, batch_size, ",
		"batch_size=8 batch_size=9": "batch_size: is set twice",
		"max_wait=5":                "max_wait: must be a duration, such as 5ms or 1m30s",
		"batch_size=many":           "batch_size: must be a whole number",
	} {
		if code, out := call("set", strings.Fields(args)...); code != exitBadInput || !strings.Contains(out, want) ||
			strings.Count(out, "\n") != 1 {
			t.Errorf("%q: %d %s", args, code, out)
		}
	}
	p.signals <- syscall.SIGTERM
	if code := p.wait(); code != exitOK {
		t.Error(code)
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
