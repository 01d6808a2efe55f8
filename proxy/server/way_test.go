package server

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

// The max numbers of functions and files from the arrival of a call to its answer.
const (
	maxWayFunctions = 140
	maxWayFiles     = 20
)

// The way of a prompt is what one Prefill of token ids runs of this project's own code,
// generated code left out: go test -run TheWayOfAPrompt -v ./proxy/server prints it.
func TestTheWayOfAPromptIsShort(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the proxy with coverage counters")
	}
	dir, f := t.TempDir(), newFake(t)
	f.setInfo("max_req_input_len", 1000)
	program := filepath.Join(dir, "way")
	command(t, "go", "build", "-cover", "-covermode=atomic",
		"-coverpkg=paceline/proxy/...,paceline/batcher/...,paceline/sglang,paceline/tokenizer", "-o", program, "./testdata/way")
	command(t, program, f.url(), dir)
	files, functions := map[string]bool{}, 0
	var way []string
	for line := range strings.Lines(command(t, "go", "tool", "covdata", "func", "-i="+dir)) {
		fields := strings.Fields(line) // file:line:  function  percentage
		if len(fields) != 3 || fields[2] == "0.0%" || fields[0] == "total" || strings.Contains(fields[0], "testdata/way") {
			continue
		}
		functions++
		file, _, _ := strings.Cut(strings.TrimPrefix(fields[0], "paceline/"), ":")
		files[file] = true
		way = append(way, file+" "+fields[1])
	}
	sort.Strings(way)
	t.Logf("%d functions in %d files:\n%s", functions, len(files), strings.Join(way, "\n"))
	if functions == 0 || functions > maxWayFunctions || len(files) > maxWayFiles {
		t.Errorf("%d functions in %d files, want at most %d in %d", functions, len(files), maxWayFunctions, maxWayFiles)
	}
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	c := exec.CommandContext(t.Context(), name, args...)
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, &stderr)
	}
	return string(out)
}
