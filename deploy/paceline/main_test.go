package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestPacelineTellsItsVersionAndUsageAndRefusesOtherCommands(t *testing.T) {
	for _, c := range []struct {
		args           string
		code           int
		stdout, stderr string
	}{
		{"version", 0, "paceline ", ""},
		{"-h", 0, "paceline proxy -upstream", ""},
		{"proxies", exitBadInput, "", `paceline: "proxies" is not a command: proxy, loadgen, status, set or version`},
		{"", exitBadInput, "", usage},
	} {
		var stdout, stderr bytes.Buffer
		code := run(strings.Fields(c.args), &stdout, &stderr)
		if code != c.code || !strings.HasPrefix(stdout.String(), c.stdout) && !strings.Contains(stdout.String(), c.stdout) ||
			!strings.Contains(stderr.String(), c.stderr) || c.stderr == "" && stderr.Len() > 0 {
			t.Errorf("%q: %d %q %q", c.args, code, &stdout, &stderr)
		}
	}
}
